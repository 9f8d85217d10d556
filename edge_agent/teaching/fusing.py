"""One number of many views: how much each of them counts is learned for each surface.

On a coarse casting the views that average over large places say most, on smooth paint those that look closely: spoiled
images (`spoiling`) show which of them tell flaws from good on this surface. The weights are those of a logistic
regression with no weight below zero, drawn towards each other: no view is trusted alone, and none is taken for the
opposite of what it says.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_LINEAR = 3.0
"""Up to so many deviations a view counts in proportion, then by the logarithm: one loud view must not drown all."""
_DRAWN = 0.03
_STEPS, _RATE = 600, 0.3


def squashed(scores: Doubles) -> Doubles:
    """Never flat above `-_LINEAR`: images keep their order."""
    above = np.log1p(np.maximum(scores - _LINEAR, 0))
    return np.asarray(np.clip(scores, -_LINEAR, _LINEAR) + above, np.float64)


def combined(by_view: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The weighted mean of what the views say; the plain mean where there are no weights.

    Args:
        by_view: deviations from what good images score.
        weights: by view, 1 in all; empty for a surface that was taught without spoiled images.
    """
    if not weights:
        return sum(by_view.values()) / len(by_view)
    scores = squashed(np.array([by_view[name] for name in weights]))
    return float(scores @ np.array(list(weights.values())))


def learned_weights(good: Doubles, spoiled: Doubles) -> Doubles:
    """How much each view counts, from held-out scores (n, views) and (m, views); 1 in all.

    Good and spoiled images weigh the same.
    """
    scores = squashed(np.concatenate([good, spoiled]))
    is_spoiled = np.repeat([0.0, 1.0], [len(good), len(spoiled)])
    share = np.where(is_spoiled > 0, 0.5 / len(spoiled), 0.5 / len(good))
    weights, level = np.full(scores.shape[1], 0.3), -1.0
    for _ in range(_STEPS):
        odds = np.clip(scores @ weights + level, -30, 30)
        error = (1 / (1 + np.exp(-odds)) - is_spoiled) * share
        weights = np.maximum(weights - _RATE * (error @ scores + _DRAWN * (weights - weights.mean())), 0)
        level -= _RATE * float(error.sum())
    total = float(weights.sum())
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
