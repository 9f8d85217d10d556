"""Learning one view: its Gaussians, its critic, and what both say of images that they had not seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.teaching.course import Course, fit_course
from edge_agent.teaching.critic import Critic, trained
from edge_agent.teaching.gaussians import Normal, fit, lengths, whitened
from edge_agent.teaching.scorer import CRITIC, Heard, View, peak

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_GOOD_PLACES = 12_000
"""So many places of good images a critic learns from, at most."""
_COVERED = 0.04
"""Of a place, for it to be spoiled."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flawed:
    """Spoilt images in one view: which good images they were (m,), features (m, h, w, C), what is covered (m, H, W)."""

    source: Indices
    images: Halves
    where: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Of images by models that had not seen them: good ones (n,) and spoilt ones (m,)."""

    good: Doubles
    spoilt: Doubles


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pupil:
    """What one view is learned from.

    Attributes:
        images: features of the good images, (n, h, w, C).
        block: side of the blocks of places that share a covariance.
        critical: does it get a critic?
        coursing: is the good images' course taken out first?
    """

    images: Halves
    block: int
    flawed: Flawed | None = None
    critical: bool = False
    coursing: bool = False

    def learned(self, folds: Sequence[Indices]) -> tuple[View, dict[str, Scores]]:
        """The view's model of all images, and held-out scores of it and of its critic (`CRITIC`)."""
        good, spoilt = self._held_out(folds)
        scales = {name: _Scale.of(maps, folds) for name, maps in good.items()}
        scores = {name: Scores(good=scale.scores, spoilt=np.empty(0)) for name, scale in scales.items()}
        if self.flawed is not None:
            source = self.flawed.source
            for name, maps in spoilt.items():
                away = _scored(maps, [np.flatnonzero(np.isin(source, fold)) for fold in folds], scales[name].by_fold)
                scores[name] = Scores(good=scales[name].scores, spoilt=away)
        return self._view(scales), scores

    def _held_out(self, folds: Sequence[Indices]) -> tuple[dict[str, Floats], dict[str, Floats]]:
        good: dict[str, Floats] = {}
        spoilt: dict[str, Floats] = {}
        for fold in folds:
            taught = self._taught(np.setdiff1d(np.arange(len(self.images)), fold))
            _filled(good, fold, len(self.images), taught.maps(self.images[fold]))
            if self.flawed is not None:
                theirs = np.flatnonzero(np.isin(self.flawed.source, fold))
                _filled(spoilt, theirs, len(self.flawed.images), taught.maps(self.flawed.images[theirs]))
        return good, spoilt

    def _view(self, scales: "dict[str, _Scale]") -> View:
        found, own = self._taught(np.arange(len(self.images))), scales[""]
        normal = Normal(
            mean=found.mean, whitening=found.whitening, block=self.block, centre=own.places[0], spread=own.places[1]
        )
        heard = None
        if found.critic is not None:
            said = scales[CRITIC]
            heard = Heard(critic=found.critic, places=said.places, centre=said.centre, spread=said.spread)
        return View(normal=normal, centre=own.centre, spread=own.spread, heard=heard, course=found.course)

    def _taught(self, some: Indices) -> "_Taught":
        """What these of the images teach."""
        images = self.images[some]
        course = fit_course(images.astype(np.float32)) if self.coursing else None
        mean, whitening = fit(images if course is None else course.left_over(images.astype(np.float32)), self.block)
        found = _Taught(mean=mean, whitening=whitening, block=self.block, course=course)
        if self.critical and self.flawed is not None:
            return replace(found, critic=self._critic(self.flawed, some, found.white))
        return found

    def _critic(self, flawed: Flawed, some: Indices, white: Callable[[Halves], Floats]) -> Critic:
        rng = np.random.default_rng(len(some))
        known = np.flatnonzero(np.isin(flawed.source, some))
        spoiled = white(flawed.images[known])
        moved = lengths(spoiled - white(self.images[flawed.source[known]])) ** 2
        covered = _on_grid(flawed.where[known], spoiled.shape[1:3]) > _COVERED
        weights = moved / (moved + 0.5 * np.median(moved[covered]) + 1e-9)
        return trained(self._good_places(some, white, rng), spoiled[covered], weights[covered], rng)

    def _good_places(self, some: Indices, white: Callable[[Halves], Floats], rng: np.random.Generator) -> Floats:
        _, height, width, channels = self.images.shape
        enough = max(2 * _GOOD_PLACES // (height * width), 40)
        places = white(self.images[rng.permutation(some)[:enough]]).reshape(-1, channels)
        return places[rng.permutation(len(places))[:_GOOD_PLACES]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taught:
    mean: Floats
    whitening: Floats
    block: int
    course: Course | None
    critic: Critic | None = None

    def white(self, images: Halves) -> Floats:
        """Whitened features, (n, h, w, C)."""
        features = images.astype(np.float32)
        if self.course is not None:
            features = self.course.left_over(features)
        return whitened(features, self.mean, self.whitening, self.block)

    def maps(self, images: Halves) -> dict[str, Floats]:
        """The distance and what the critic says, (n, h, w) each."""
        white = self.white(images)
        return {"": lengths(white)} | ({} if self.critic is None else {CRITIC: self.critic.opinion(white)})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scale:
    """What held-out good images say: places (2, h, w), image scores (n,), their median and deviation."""

    places: Floats
    by_fold: list[Floats]
    scores: Doubles
    centre: float
    spread: float

    @classmethod
    def of(cls, away: Floats, folds: Sequence[Indices]) -> "_Scale":
        # An image must not have a say in how far away is far at its own places.
        by_fold = [_places(np.delete(away, fold, axis=0)) for fold in folds]
        scores = _scored(away, folds, by_fold)
        middle = float(np.median(scores))
        deviation = max(1.4826 * float(np.median(np.abs(scores - middle))), 0.02 * abs(middle), 1e-3)
        return cls(places=_places(away), by_fold=by_fold, scores=scores, centre=middle, spread=deviation)


def _filled(kept: dict[str, Floats], at: Indices, number: int, found: dict[str, Floats]) -> None:
    for name, maps in found.items():
        kept.setdefault(name, np.empty((number, *maps.shape[1:]), np.float32))[at] = maps


def _scored(away: Floats, folds: Sequence[Indices], by_fold: Sequence[Floats]) -> Doubles:
    scores = np.empty(len(away), np.float64)
    for fold, (centre, spread) in zip(folds, by_fold, strict=True):
        scores[fold] = [peak(map_) for map_ in (away[fold] - centre) / spread]
    return scores


def _on_grid(where: Floats, shape: tuple[int, ...]) -> Floats:
    size = (shape[1], shape[0])
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in where]).astype(np.float32)


def _places(away: Floats) -> Floats:
    """Mean and deviation of held-out distances at each place, drawn towards those of all places, (2, h, w)."""
    trust = len(away) / (len(away) + 20)
    centre = trust * away.mean(axis=0) + (1 - trust) * away.mean()
    spread = np.sqrt(trust * away.var(axis=0) + (1 - trust) * away.var()) + 1e-6
    return np.stack([centre, spread]).astype(np.float32)
