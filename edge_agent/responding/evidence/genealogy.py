"""What do the defective parts have in common that the good ones do not? The is / is-not of an 8D."""

from collections import Counter

from edge_agent.domain.counting import shows
from edge_agent.domain.evidence import Evidence
from edge_agent.responding.evidence.strata import levels_of
from edge_agent.responding.evidence.window import Window, fact
from edge_agent.responding.words import clean, share

TOOL = "genealogy.common@1"
ENOUGH, COMMON, RARE = 5, 0.9, 0.6
SHOWN = 3


def find(window: Window) -> list[Evidence]:
    """Facts for people: the pairs of attribute and level that nearly all defective parts share and many good ones lack.

    They have no token: `strata` tests them, this only lists them.
    """
    bad = [one for one in window.decided_after if shows(one, window.codes)]
    good = [one for one in window.decided_after if not shows(one, window.codes)]
    if len(bad) < ENOUGH or len(good) < ENOUGH:
        return []
    with_it = Counter(pair for one in bad for pair in levels_of(one).items())
    without = Counter(pair for one in good for pair in levels_of(one).items())
    common = [
        (count / len(bad) - without[pair] / len(good), pair, count)
        for pair, count in with_it.items()
        if count / len(bad) >= COMMON and without[pair] / len(good) <= RARE
    ]
    facts = []
    for _, (attribute, level), count in sorted(common, reverse=True)[:SHOWN]:
        words = (
            f"{count} of {len(bad)} defective parts have {attribute.replace('_', ' ')} {clean(level, 40)}; "
            f"of the good ones {share(without[(attribute, level)] / len(good))}"
        )
        facts.append(
            fact(window, tool=TOOL, token=None, statement=words, present=True, strength=0.8, n=len(bad) + len(good))
        )
    return facts
