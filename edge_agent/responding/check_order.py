"""Which check next: the one that tells most about the cause per minute of a technician's time."""

from collections.abc import Mapping, Sequence
from math import log

from edge_agent.domain.analysis import Hypothesis
from edge_agent.domain.cause import Catalogue, Check

LOTO_MINUTES = 3.0
"""What locking out and tagging out costs on top, for choosing."""


def check_order(hypotheses: Sequence[Hypothesis], catalogue: Catalogue, limit: int = 4) -> tuple[Check, ...]:
    """Checks of the suspects, most information per minute first.

    Expected fall of the posterior's entropy over minutes (sequential diagnosis; docs/diagnosis.md). A check that
    several causes share is one check. Greedy: each is judged on its own.
    """
    beliefs = {one.cause_id: one.p for one in hypotheses}
    checks: dict[str, Check] = {}
    meant: dict[str, set[str]] = {}
    for one in hypotheses:
        cause = catalogue.cause(one.cause_id)
        for check in cause.checks if cause else ():
            checks.setdefault(check.check_id, check)
            meant.setdefault(check.check_id, set()).add(one.cause_id)
    worth = {
        check_id: information(beliefs, check, meant[check_id]) / (check.minutes + LOTO_MINUTES * check.loto)
        for check_id, check in checks.items()
    }
    return tuple(checks[check_id] for check_id in sorted(worth, key=lambda check_id: -worth[check_id])[:limit])


def information(beliefs: Mapping[str, float], check: Check, causes: set[str]) -> float:
    """Expected fall of entropy (nats) from doing a check that speaks for ``causes``.

    The two likelihood ratios fix how often it is positive: with the cause ``lr_pos * f``, without it ``f``.
    """
    false_positive = (1 - check.lr_neg) / (check.lr_pos - check.lr_neg)
    rates = {cause: check.lr_pos * false_positive if cause in causes else false_positive for cause in beliefs}
    positive = _normal({cause: p * rates[cause] for cause, p in beliefs.items()})
    negative = _normal({cause: p * (1 - rates[cause]) for cause, p in beliefs.items()})
    chance = sum(p * rates[cause] for cause, p in beliefs.items()) / (sum(beliefs.values()) or 1.0)
    return _entropy(_normal(beliefs)) - chance * _entropy(positive) - (1 - chance) * _entropy(negative)


def _normal(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values()) or 1.0
    return {cause: weight / total for cause, weight in weights.items()}


def _entropy(beliefs: Mapping[str, float]) -> float:
    return -sum(p * log(p) for p in beliefs.values() if p > 0)
