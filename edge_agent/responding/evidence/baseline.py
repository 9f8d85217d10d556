"""Was all well before? An incident is told by comparison, and the comparison is only as good as what came before."""

from edge_agent.domain.counting import shows
from edge_agent.domain.evidence import Evidence
from edge_agent.responding.evidence.chance import poisson_at_least
from edge_agent.responding.evidence.window import Window, fact
from edge_agent.responding.words import share

TOOL = "rate.baseline@1"
SIGNIFICANT = 0.001
ENOUGH = 30


def find(window: Window) -> list[Evidence]:
    """One fact for people: were the parts before as good as they should be?"""
    before = window.decided_before
    bad = sum(shows(one, window.codes) for one in before)
    usual = window.incident.baseline_rate
    if len(before) < ENOUGH:
        words = f"only {len(before)} parts before it are known: what is normal comes from the configuration"
    elif poisson_at_least(bad, usual * len(before)) < SIGNIFICANT:
        words = f"before it {bad} of {len(before)} parts were defective already, more than the usual {share(usual)}"
    else:
        words = f"before it all was well: {bad} of {len(before)} parts defective (usual {share(usual)})"
    return [fact(window, tool=TOOL, token=None, statement=words, present=True, strength=0.9, n=len(before))]
