"""Learning what is normal: features of good images in, a taught model and its thresholds out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.teaching.conformal import Threshold, threshold
from edge_agent.teaching.gaussians import Normal, distances, fit
from edge_agent.teaching.scorer import Surface, View, combined, peak
from edge_agent.teaching.views import BLOCKS

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Features = Mapping[str, Floats]

FOLDS = 5
BAND = 0.35
"""How far above the threshold doubt reaches, as a share of the way from the median good image to the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What was learned, and how well it keeps good images apart from the rest of the world.

    Attributes:
        accept: an image further away than this is not accepted.
        reject: one further away than this is rejected; between the two a person looks.
        held_out: distance of each good image from a model that had not seen it, in order.
    """

    surface: Surface
    accept: Threshold
    reject: float
    held_out: tuple[float, ...]

    def score(self, distance: float) -> float:
        """0 to 1, rising with the distance; 0.5 at ``reject``."""
        return score_of(distance, self.reject)


def score_of(distance: float, reject: float) -> float:
    """0 to 1, rising with the distance, 0.5 at ``reject``, never flat: images keep their order."""
    steps = (distance - reject) / max(reject, 1.0) * 2
    return 0.5 + 0.5 * steps / (1 + abs(steps))


def learn(images: Iterable[Features], *, rate: float, told: Callable[[str], None] = lambda _: None) -> Lesson:
    """Learn from the features of good images.

    Held-out distances come from `FOLDS` models, each of which had not seen a part of the images.

    Args:
        rate: share of good parts that may be stopped (rejected or held).
        told: called with the name of each view before it is learned.

    Raises:
        ValueError: fewer images than two.
    """
    kept = _collect(images)
    number = len(next(iter(kept.values())))
    folds = [np.arange(fold, number, FOLDS) for fold in range(min(FOLDS, number))]
    views: dict[str, View] = {}
    scores: dict[str, npt.NDArray[np.float64]] = {}
    for name in list(kept):
        told(name)
        views[name], scores[name] = _learned(np.stack(kept.pop(name)), BLOCKS[name], folds)
    held_out = [
        combined({name: (scores[name][index] - views[name].centre) / views[name].spread for name in views})
        for index in range(number)
    ]
    return _concluded(Surface(views=views), held_out, rate)


def _concluded(surface: Surface, held_out: list[float], rate: float) -> Lesson:
    # Thresholds want positive numbers: distances are moved up by as much as the least of them lies below one.
    lift = 1.0 - min(held_out)
    found = threshold([value + lift for value in held_out], rate)
    accept = Threshold(
        value=found.value - lift, wanted_rate=rate, promised_rate=found.promised_rate, images=found.images
    )
    reject = accept.value + BAND * max(accept.value - float(np.median(held_out)), 0.5)
    return Lesson(surface=surface, accept=accept, reject=reject, held_out=tuple(held_out))


def _collect(images: Iterable[Features]) -> dict[str, list[Halves]]:
    """By view. Half precision: three hundred images fit in 200 MB."""
    kept: dict[str, list[Halves]] = {}
    for image in images:
        for name, features in image.items():
            kept.setdefault(name, []).append(features.astype(np.float16))
    if not kept or len(next(iter(kept.values()))) < 2:
        raise ValueError("at least two images are needed")
    return kept


def _learned(images: Halves, block: int, folds: Sequence[npt.NDArray[np.intp]]) -> tuple[View, npt.NDArray[np.float64]]:
    """The view's model of all images, and the score of each by a model that had not seen it."""
    away = np.empty(images.shape[:3], np.float32)
    for fold in folds:
        mean, whitening = fit(np.delete(images, fold, axis=0), block)
        away[fold] = distances(images[fold].astype(np.float32), mean, whitening, block)
    scores = np.empty(len(images), np.float64)
    for fold in folds:
        # An image must not have a say in how far away is far at its own places.
        centre, spread = _places(np.delete(away, fold, axis=0))
        scores[fold] = [peak(map_) for map_ in (away[fold] - centre) / spread]
    centre, spread = _places(away)
    middle = float(np.median(scores))
    deviation = max(1.4826 * float(np.median(np.abs(scores - middle))), 0.02 * abs(middle), 1e-3)
    mean, whitening = fit(images, block)
    normal = Normal(mean=mean, whitening=whitening, block=block, centre=centre, spread=spread)
    return View(normal=normal, centre=middle, spread=deviation), scores


def _places(away: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of held-out distances at each place, drawn towards those of all places."""
    trust = len(away) / (len(away) + 20)
    centre = trust * away.mean(axis=0) + (1 - trust) * away.mean()
    spread = np.sqrt(trust * away.var(axis=0) + (1 - trust) * away.var()) + 1e-6
    return centre.astype(np.float32), spread.astype(np.float32)
