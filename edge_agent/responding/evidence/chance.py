"""How likely something is by chance."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from edge_agent.responding.evidence.window import Floats


def at_least(successes: int, n: int, p: float) -> float:
    """P(X >= successes) for X ~ Binomial(n, p)."""
    return 1.0 if successes <= 0 else float(special.bdtrc(successes - 1, n, min(max(p, 1e-12), 1 - 1e-12)))


def poisson_at_least(count: int, mean: float) -> float:
    """P(X >= count) for X ~ Poisson(mean)."""
    return 1.0 if count <= 0 else float(special.pdtrc(count - 1, max(mean, 1e-12)))


def normal_tail(z: float) -> float:
    """P(Z >= z), one side."""
    return float(special.ndtr(-z))


def student_two_sided(t: float, df: float) -> float:
    """P(|T| >= |t|) with ``df`` degrees of freedom."""
    return float(2 * special.stdtr(max(df, 1.0), -abs(t)))


def chi_square_tail(x: float, df: float) -> float:
    """P(X >= x) for a chi-square variable."""
    return float(special.chdtrc(df, x))


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p values (JRSS B 57, 1995), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    if p.size == 0:
        return []
    order = np.argsort(p)
    ranked = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.minimum.accumulate(ranked[::-1])[::-1]
    result: Floats = np.empty_like(adjusted)
    result[order] = np.minimum(adjusted, 1.0)
    return [float(one) for one in result]


def robust_sd(values: Floats) -> float:
    """Median absolute deviation, scaled to the standard deviation of a normal distribution."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else 0.0
