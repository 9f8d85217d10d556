"""Learning what is normal: features of good images in, a taught model and its thresholds out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.teaching.conformal import Threshold, threshold
from edge_agent.teaching.fusing import Fusion, learned_fusion
from edge_agent.teaching.one_view import Flawed, Pupil, Scores
from edge_agent.teaching.scorer import Surface, View
from edge_agent.teaching.spoiling import Features, Spoilt
from edge_agent.teaching.views import BLOCKS, COURSES, CRITICS

Doubles = npt.NDArray[np.float64]
Halves = npt.NDArray[np.float16]
Indices = npt.NDArray[np.intp]

FOLDS = 5
BAND = 0.35
"""How far above the threshold doubt reaches, as a share of the way from the median good image to the threshold."""


_GOOD_PLACES = 12_000
"""So many places of good images a critic learns from, at most."""
_COVERED = 0.04
"""Of a place, for it to be spoiled."""


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


def learn(
    images: Iterable[Features],
    spoilt: Iterable[Spoilt] = (),
    *,
    rate: float,
    told: Callable[[str], None] = lambda _: None,
) -> Lesson:
    """Learn from the features of good images.

    Held-out distances come from `FOLDS` models, each of which had not seen a part of the images.

    Args:
        spoilt: some of them with flaws. Without any there are no critics, and all views count alike.
        rate: share of good parts that may be stopped (rejected or held).
        told: called with the name of each view before it is learned.

    Raises:
        ValueError: fewer images than two.
    """
    kept = _collect(images)
    number = len(next(iter(kept.values())))
    flawed, kinds = _collect_spoilt(spoilt)
    sources = next(iter(flawed.values())).source if flawed else np.empty(0, np.intp)
    folds = [np.arange(fold, number, FOLDS) for fold in range(min(FOLDS, number))]
    views: dict[str, View] = {}
    scores: dict[str, Scores] = {}
    for name in list(kept):
        told(name)
        pupil = Pupil(
            images=np.stack(kept.pop(name)),
            block=BLOCKS[name],
            flawed=flawed.pop(name, None),
            critical=name in CRITICS,
            coursing=name in COURSES,
        )
        views[name], found = pupil.learned(folds)
        scores |= {name + of: values for of, values in found.items()}
    table = _Table.of(Surface(views=views).scales, scores, sources, kinds)
    surface = Surface(views=views, fusion=table.fusion(np.empty(0, np.intp)))
    return _concluded(surface, table.held_out(folds), rate)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """Held-out scores in units of good images' deviation: (n, views) of good and (m, views) of spoilt images.

    Attributes:
        sources: which good images the spoilt ones were, (m,).
        kinds: of their flaws, (m,).
    """

    names: tuple[str, ...]
    good: Doubles
    spoilt: Doubles
    sources: Indices
    kinds: npt.NDArray[np.str_]

    @classmethod
    def of(
        cls,
        scales: Mapping[str, tuple[float, float]],
        scores: Mapping[str, Scores],
        sources: Indices,
        kinds: npt.NDArray[np.str_],
    ) -> "_Table":
        good = [(scores[name].good - centre) / spread for name, (centre, spread) in scales.items()]
        spoilt = [(scores[name].spoilt - centre) / spread for name, (centre, spread) in scales.items()]
        return cls(
            names=tuple(scales), good=np.stack(good, 1), spoilt=np.stack(spoilt, 1), sources=sources, kinds=kinds
        )

    def fusion(self, without: Indices) -> Fusion | None:
        """How much each view counts, learned without these good images and what was made of them."""
        if not len(self.sources):
            return None
        rest = np.setdiff1d(np.arange(len(self.good)), without)
        theirs = ~np.isin(self.sources, without)
        return learned_fusion(self.names, self.good[rest], self.spoilt[theirs], self.kinds[theirs])

    def held_out(self, folds: Sequence[Indices]) -> list[float]:
        """The distance of each good image, by a fusion that it had no say in."""
        found = np.empty(len(self.good))
        for fold in folds:
            fusion = self.fusion(fold)
            found[fold] = self.good[fold].mean(axis=1) if fusion is None else fusion.of_many(self.good[fold])
        return found.tolist()


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


def _collect_spoilt(spoilt: Iterable[Spoilt]) -> tuple[dict[str, Flawed], npt.NDArray[np.str_]]:
    """By view, and their kinds."""
    kept: dict[str, list[Halves]] = {}
    sources, where, kinds = [], [], []
    for one in spoilt:
        sources.append(one.of)
        where.append(one.where)
        kinds.append(one.kind)
        for name, features in one.features.items():
            kept.setdefault(name, []).append(features.astype(np.float16))
    source, covered = np.array(sources, np.intp), np.array(where, np.float32)
    flawed = {name: Flawed(source=source, images=np.stack(images), where=covered) for name, images in kept.items()}
    return flawed, np.array(kinds, np.str_)
