"""Are two samples from the same distribution? Chance, and how large the difference is."""

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

BINS = 10
"""Deciles, as the population stability index is used."""
_SHUFFLES = 200


def psi(here: Values, expected: Values) -> float:
    """Population stability index of two histograms, half a case added to each bin.

    Less its mean under no change, (bins - 1)(1/n + 1/m) (Yurdakul 2018): small samples differ by chance. By the tables
    of practice more than 0.1 "has moved" and more than 0.25 "has changed" (Siddiqi, Credit Risk Scorecards, 2006).
    """
    n, m = here.sum(), expected.sum()
    a = (here + 0.5) / (n + 0.5 * len(here))
    b = (expected + 0.5) / (m + 0.5 * len(here))
    index = float(((a - b) * np.log(a / b)).sum())
    return max(0.0, index - (len(here) - 1) * float(1 / n + 1 / m))


def decile_edges(values: Values) -> Values:
    """Inner edges of the deciles; fewer where values repeat."""
    return np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))


def histogram(values: Values, edges: Values) -> Values:
    """Counts between the edges, and beyond them on either side."""
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return counts.astype(np.float64)


def kolmogorov_smirnov(here: Values, there: Values, worth: tuple[float, float]) -> tuple[float, float]:
    """The two-sample test: the largest distance of the distribution functions, and how probable it is by chance.

    The asymptotic p with Stephens' correction (Journal of the Royal Statistical Society B 32, 1970); conservative where
    values repeat.

    Args:
        worth: how many independent values each sample is worth.
    """
    both = np.concatenate([here, there])
    steps = [np.searchsorted(np.sort(one), both, side="right") / len(one) for one in (here, there)]
    distance = float(np.abs(steps[0] - steps[1]).max())
    n = math.sqrt(worth[0] * worth[1] / (worth[0] + worth[1]))
    x = (n + 0.12 + 0.11 / n) * distance
    if x < 0.3:
        return distance, 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return distance, min(max(sum(terms), 0.0), 1.0)


def independent(values: Values) -> float:
    """How many independent values a series is worth whose neighbours are alike (autoregressive of order 1)."""
    if len(values) < 8 or np.ptp(values) == 0:
        return float(len(values))
    centred = values - values.mean()
    alike = float(centred[1:] @ centred[:-1] / (centred @ centred))
    alike = min(max(alike, 0.0), 0.95)
    return max(len(values) * (1 - alike) / (1 + alike), 2.0)


def energy(here: Values, there: Values, *, least: float = 0.0, seed: int = 7) -> tuple[float, float]:
    """How far two clouds of points are apart, 0 to 1, and how probable that is by chance.

    The energy distance over twice the mean distance between the clouds (Szekely and Rizzo 2013); the chance from
    shuffled labels, with a gamma distribution through their mean and variance for what is rarer than the shuffles can
    show.

    Args:
        here, there: (n, C) and (m, C).
        least: of a smaller distance the chance is not asked for, and told as 1.
    """
    points = np.concatenate([here, there])
    squares = (points**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * points @ points.T, 0.0))
    np.fill_diagonal(apart, 0.0)
    labels = np.zeros((1, len(points)))
    labels[0, : len(here)] = 1
    found, between = (float(one[0]) for one in _energies(labels, apart))
    size = found / (2 * between) if between else 0.0
    if size < least or not between:
        return size, 1.0
    random = np.random.default_rng(seed)
    shuffled = np.stack([random.permutation(labels[0]) for _ in range(_SHUFFLES)])
    return size, _gamma_tail(found, _energies(shuffled, apart)[0])


def _energies(labels: Values, apart: Values) -> tuple[Values, Values]:
    """Energy distance and mean distance between the clouds, for each labelling (1: the first cloud)."""
    others = 1 - labels
    n, m = labels[0].sum(), others[0].sum()
    reach = labels @ apart
    across, within = (reach * others).sum(axis=1), (reach * labels).sum(axis=1)
    second = apart.sum() - 2 * across - within
    return np.maximum(2 * across / (n * m) - within / n**2 - second / m**2, 0.0), across / (n * m)


def _gamma_tail(value: float, sample: Values) -> float:
    """P(X >= value) of the gamma distribution with the sample's mean and variance (Wilson and Hilferty 1931)."""
    mean, variance = float(sample.mean()), float(sample.var())
    if variance <= 0 or mean <= 0:
        return 1.0
    shape = mean * mean / variance
    z = ((value / mean) ** (1 / 3) - (1 - 1 / (9 * shape))) * math.sqrt(9 * shape)
    return 0.5 * math.erfc(z / math.sqrt(2))
