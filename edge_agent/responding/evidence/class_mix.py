"""Which classes became more frequent, and whether all of them did."""

from collections import Counter

from edge_agent.domain.counting import UNDECIDED, classes_on
from edge_agent.domain.evidence import Evidence
from edge_agent.responding.evidence.chance import poisson_at_least
from edge_agent.responding.evidence.window import Window, fact
from edge_agent.responding.words import defect_name, share

TOOL = "class.mix@1"
BROAD = "mix:broad"
SIGNIFICANT = 0.01
ENOUGH = 5
"""Defective parts before the absence of a class means something."""
DEFAULT_RATE = 0.005


def find(window: Window) -> list[Evidence]:
    """One ``class:`` token per class, and ``mix:broad``."""
    counts = Counter(code for one in window.after for code in classes_on(one))
    facts = [_of_class(window, code, counts[code]) for code in window.all_codes]
    risen = [one for one in facts if one.polarity.value == "present" and one.token != f"class:{UNDECIDED}"]
    return [*facts, _broad(window, len(risen), sum(counts.values()))]


def _of_class(window: Window, code: str, count: int) -> Evidence:
    decided = len(window.after) if code == UNDECIDED else len(window.decided_after)
    base = window.base_rates.get(code, DEFAULT_RATE)
    chance = poisson_at_least(count, base * decided)
    present: bool | None = chance < SIGNIFICANT and count >= 2
    if not present and len(window.defective_after) < ENOUGH:
        present = None
    observed = count / decided if decided else 0.0
    words = f"{defect_name(code)} on {count} of {decided} parts ({share(observed)}, normally {share(base)})"
    return fact(
        window,
        tool=TOOL,
        token=f"class:{code}",
        statement=words if present is not False else f"no more {defect_name(code)} than normal: {words}",
        present=present,
        strength=1 - chance if present else 0.9,
        n=decided,
        value=observed,
        unit="share",
        baseline=base,
    )


def _broad(window: Window, risen: int, total: int) -> Evidence:
    classes = len([code for code in window.all_codes if code != UNDECIDED])
    present: bool | None = risen >= max(3, round(0.6 * classes))
    if not present and total < 2 * ENOUGH:
        present = None
    words = f"{risen} of {classes} defect classes became more frequent together"
    return fact(window, tool=TOOL, token=BROAD, statement=words, present=present, strength=0.9, n=total)
