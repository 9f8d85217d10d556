"""Exact statements about shares of parts: intervals, and whether two models differ on the same parts."""

from math import comb

from scipy.special import betaincinv


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a proportion (Clopper and Pearson, Biometrika 26, 1934); (0, 1) for no observations."""
    tail = (1 - confidence) / 2
    return _lower(successes, n, tail), _upper(successes, n, tail)


def upper_limit(successes: int, n: int, confidence: float = 0.95) -> float:
    """What the share is at most, at this confidence (one-sided Clopper-Pearson); 1 for no observations."""
    return _upper(successes, n, 1 - confidence)


def lower_limit(successes: int, n: int, confidence: float = 0.95) -> float:
    """What the share is at least, at this confidence (one-sided Clopper-Pearson); 0 for no observations."""
    return _lower(successes, n, 1 - confidence)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p value that two models err equally often, from the parts on which just one of them errs.

    McNemar's test (Psychometrika 12, 1947) in its exact form: the discordant parts are tosses of a fair coin.
    """
    n = only_first + only_second
    tail = sum(comb(n, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / (1 << n))


def _lower(successes: int, n: int, tail: float) -> float:
    return float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0


def _upper(successes: int, n: int, tail: float) -> float:
    return float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
