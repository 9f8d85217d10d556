"""Causes that the catalogue lacks: three closed orders that say "something else" and look alike make a suggestion.

Only a person adds a row; this says which tokens it would have, and what the technicians called it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_agent.domain.cause import OTHER
from edge_agent.domain.verdict import ConfirmedCase

ALIKE = 0.5
ENOUGH = 3
USUAL = 0.5
"""A token belongs to the suggestion when this share of its cases shows it, and it is not normal here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A row that a person may add.

    Attributes:
        tokens: token to the share of the cases that showed it.
        texts: what was written about them.
    """

    tokens: Mapping[str, float]
    classes: tuple[str, ...]
    texts: tuple[str, ...]
    cases: int


def suggestions(cases: Sequence[ConfirmedCase], background: Mapping[str, float]) -> tuple[Suggestion, ...]:
    """Groups of OTHER cases with similar tokens, largest first."""
    left = [case for case in cases if case.cause_id == OTHER and case.recovered is not False]
    found: list[Suggestion] = []
    while left:
        groups = [[other for other in left if _alike(case, other, background) >= ALIKE] for case in left]
        group = max(groups, key=len)
        if len(group) < ENOUGH:
            break
        found.append(_suggested(group, background))
        chosen = {case.order_id for case in group}
        left = [case for case in left if case.order_id not in chosen]
    return tuple(found)


def _telling(case: ConfirmedCase, background: Mapping[str, float]) -> frozenset[str]:
    return frozenset(t for t, sign in case.tokens.items() if sign > 0 and background.get(t, 0.1) < USUAL)


def _alike(left: ConfirmedCase, right: ConfirmedCase, background: Mapping[str, float]) -> float:
    one, two = _telling(left, background), _telling(right, background)
    return len(one & two) / len(one | two) if one | two else 0.0


def _suggested(group: Sequence[ConfirmedCase], background: Mapping[str, float]) -> Suggestion:
    counts = Counter(token for case in group for token in _telling(case, background))
    shares = {token: round(count / len(group), 2) for token, count in counts.most_common()}
    usual = {token: share for token, share in shares.items() if share >= USUAL}
    return Suggestion(
        tokens={token: share for token, share in usual.items() if not token.startswith("class:")},
        classes=tuple(token.partition(":")[2] for token in usual if token.startswith("class:")),
        texts=tuple(dict.fromkeys(case.text for case in group if case.text)),
        cases=len(group),
    )
