"""What was it the last times it looked like this?"""

from collections import Counter

from edge_agent.domain.cause import OTHER
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.responding.evidence.window import Window, fact
from edge_agent.responding.similarity import sentence
from edge_agent.responding.words import number

TOOL = "cases.similar@2"
CASES, BY = "cases", "compared by"
"""Where the fact's provenance keeps the orders of the cases, most alike first, and what found them."""
NEAREST = 3
ALIKE = 0.3


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Overlap of two token sets, 0 to 1."""
    return len(left & right) / len(left | right) if left | right else 0.0


def present_tokens(evidence: list[Evidence]) -> frozenset[str]:
    """The tokens that were found present."""
    return frozenset(one.token for one in evidence if one.token and one.polarity is Polarity.PRESENT)


def nearest(tokens: frozenset[str], cases: tuple[ConfirmedCase, ...]) -> list[tuple[float, ConfirmedCase]]:
    """The confirmed cases most like these tokens, best first; only those that are alike at all."""
    scored = [(jaccard(tokens, frozenset(t for t, sign in case.tokens.items() if sign > 0)), case) for case in cases]
    alike = [one for one in scored if one[0] >= ALIKE]
    return sorted(alike, key=lambda one: (-one[0], one[1].confirmed_at))[:NEAREST]


def unlisted_likeness(tokens: frozenset[str], cases: tuple[ConfirmedCase, ...]) -> float:
    """How like (0 to 1) the nearest confirmed incident is whose cause was not in the catalogue; 0 where none is."""
    alike = nearest(tokens, tuple(case for case in cases if case.cause_id == OTHER))
    return alike[0][0] if alike else 0.0


def find(window: Window, evidence: list[Evidence]) -> list[Evidence]:
    """A fact about the most similar confirmed cases; none when there are none. It has no token: cases teach the
    ranking through its weights, and must not be counted twice."""
    said = sentence(present_tokens(evidence))
    found = window.similar.nearest(said, window.cases, NEAREST)
    if not found:
        return []
    causes = Counter(case.cause_id for _, case in found)
    cause, count = causes.most_common(1)[0]
    statement = (
        f"{count} of the {len(found)} most similar confirmed cases were {cause} (similarity {number(found[0][0])})"
    )
    return [
        fact(
            window,
            tool=TOOL,
            token=None,
            statement=statement,
            present=True,
            strength=found[0][0],
            n=len(window.cases),
            provenance={CASES: " ".join(str(case.order_id) for _, case in found), BY: window.similar.by},
        )
    ]
