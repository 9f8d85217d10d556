"""One number of many views: how much each of them counts is learned for each surface.

On a coarse casting the views that average over large places say most, on smooth paint those that look closely; a stain
is seen by others than a scratch. Spoiled images (`spoiling`) show it: for each kind of flaw a logistic regression says
how much each view counts, with no weight below zero and all drawn towards each other, so that no view is trusted alone
and none is taken for the opposite of what it says. One more expert counts all views alike, for flaws that nobody
thought of. The odds of all are added, as those of a mixture: any kind of flaw will do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_LINEAR = 3.0
"""Up to so many deviations a view counts in proportion, then by the logarithm: one loud view must not drown all."""
_LOUDEST = 300.0
_DRAWN = 0.03
_STEPS, _RATE = 600, 0.3
_LEAST_OF_A_KIND = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fusion:
    """What was learned about the views.

    Attributes:
        names: of the views and critics.
        weights: (experts, views), none below 0.
        centre, spread: median and deviation of what each expert says of good images, (experts,).
    """

    names: tuple[str, ...]
    weights: Doubles
    centre: Doubles
    spread: Doubles

    def combined(self, by_view: Mapping[str, float]) -> float:
        """One number of what the views say, in deviations from good images; rises with each of them."""
        scores = np.array([by_view[name] for name in self.names])
        return float(self.of_many(scores[None])[0])

    def of_many(self, scores: Doubles) -> Doubles:
        """The same of many images, (n, views) in the order of ``names`` to (n,)."""
        experts = (_squashed(scores) @ self.weights.T - self.centre) / self.spread
        return np.asarray(np.logaddexp.reduce(np.minimum(experts, _LOUDEST), axis=1), np.float64)


def learned_fusion(names: Sequence[str], good: Doubles, spoiled: Doubles, kinds: npt.NDArray[np.str_]) -> Fusion:
    """From held-out scores of good images (n, views) and of spoiled ones (m, views) with their kinds (m,)."""
    of_kind = [spoiled[kinds == kind] for kind in np.unique(kinds)]
    experts = [_weights(good, some) for some in of_kind if len(some) >= _LEAST_OF_A_KIND]
    weights = np.stack([*experts, np.full(len(names), 1 / len(names))])
    said = _squashed(good) @ weights.T
    centre = np.median(said, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(said - centre), axis=0), 1e-3)
    return Fusion(names=tuple(names), weights=weights, centre=centre, spread=spread)


def _squashed(scores: Doubles) -> Doubles:
    above = np.log1p(np.maximum(scores - _LINEAR, 0))
    return np.asarray(np.clip(scores, -_LINEAR, _LINEAR) + above, np.float64)


def _weights(good: Doubles, spoiled: Doubles) -> Doubles:
    """How much each view counts, 1 in all; good and spoiled images weigh the same."""
    scores = _squashed(np.concatenate([good, spoiled]))
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
