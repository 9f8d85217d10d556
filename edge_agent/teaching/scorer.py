"""A taught model: normal views of a surface, and how far an image is from them."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.domain.defect import BoxXyxy
from edge_agent.teaching.course import Course
from edge_agent.teaching.critic import Critic
from edge_agent.teaching.fusing import Fusion
from edge_agent.teaching.gaussians import Normal

Floats = npt.NDArray[np.float32]

TOP_SHARE = 0.03
"""An image is as far from normal as this share of its places, the worst ones, on average."""
_LEAST_CELLS = 3
_REGION_OF_PEAK = 0.6
_MOST_REGIONS = 10


_FUSION = "fusion."
CRITIC = ".critic"
"""What a critic says of a view has the view's name with this behind it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """A view's critic, and what it says of good images that it had not seen.

    Attributes:
        places: mean and deviation of its opinion at each place, (2, h, w).
        centre, spread: median and scaled median deviation of the image scores.
    """

    critic: Critic
    places: Floats
    centre: float
    spread: float

    def map(self, white: Floats) -> Floats:
        """Standardised opinion at every place."""
        return np.asarray((self.critic.opinion(white) - self.places[0]) / self.places[1], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One view's model, and what its image scores are for good images it had not seen.

    Attributes:
        centre, spread: median and scaled median deviation of held-out image scores.
        heard: its critic, where it has one.
        course: what is taken out of its features first, where something is.
    """

    normal: Normal
    centre: float
    spread: float
    heard: Heard | None = None
    course: Course | None = None

    def white(self, features: Floats) -> Floats:
        """Whitened features, (h, w, C)."""
        if self.course is not None:
            features = self.course.left_over(features[None])[0]
        return self.normal.white(features)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distance:
    """How far an image is from normal.

    Attributes:
        value: of the whole image; 0 is the median of good ones, each step of 1 a deviation.
        by_view: the same by view and critic.
        maps: standardised distance at every place, by view and critic.
    """

    value: float
    by_view: Mapping[str, float]
    maps: Mapping[str, Floats]


def peak(map_: Floats) -> float:
    """The mean of the largest values of a map."""
    cells = max(_LEAST_CELLS, round(TOP_SHARE * map_.size))
    flat = map_.ravel()
    return float(np.partition(flat, flat.size - cells)[-cells:].mean())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """What was taught.

    Attributes:
        fusion: how much each view and critic counts; none where all count alike, as in what was taught before.
    """

    views: Mapping[str, View]
    fusion: Fusion | None = None

    def distance(self, features: Mapping[str, Floats]) -> Distance:
        """How far an image is from what was taught.

        Args:
            features: (h, w, C) by view.
        """
        maps: dict[str, Floats] = {}
        for name, view in self.views.items():
            white = view.white(features[name])
            maps[name] = view.normal.map(white)
            if view.heard is not None:
                maps[name + CRITIC] = view.heard.map(white)
        scales = self.scales
        by_view = {name: (peak(map_) - scales[name][0]) / scales[name][1] for name, map_ in maps.items()}
        return Distance(value=self.combined(by_view), by_view=by_view, maps=maps)

    def combined(self, by_view: Mapping[str, float]) -> float:
        """One number of what the views and critics say."""
        if self.fusion is None:
            return sum(by_view.values()) / len(by_view)
        return self.fusion.combined(by_view)

    @property
    def scales(self) -> dict[str, tuple[float, float]]:
        """Median and deviation of the image scores of good images, by view and critic."""
        views = {name: (view.centre, view.spread) for name, view in self.views.items()}
        heard = {name + CRITIC: view.heard for name, view in self.views.items() if view.heard is not None}
        return views | {name: (one.centre, one.spread) for name, one in heard.items()}

    def as_bytes(self) -> bytes:
        """For a file; compressed."""
        arrays = {} if self.fusion is None else _fusion_arrays(self.fusion)
        for name, view in self.views.items():
            normal = view.normal
            arrays |= {
                f"{name}.mean": normal.mean.astype(np.float16),
                f"{name}.whitening": packed(normal.whitening),
                f"{name}.block": np.array(normal.block),
                f"{name}.centre": normal.centre,
                f"{name}.spread": normal.spread,
                f"{name}.image": np.array([view.centre, view.spread]),
            }
            arrays |= _heard_arrays(name, view.heard) | _course_arrays(name, view.course)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Surface":
        """The reverse.

        Raises:
            ValueError, KeyError, OSError: not what `as_bytes` wrote.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        names = dict.fromkeys(key.partition(".")[0] for key in found if not key.startswith(_FUSION))
        return cls(views={name: _view(found, name) for name in names}, fusion=_fusion(found))


def _fusion_arrays(fusion: Fusion) -> dict[str, npt.NDArray[np.generic]]:
    return {
        f"{_FUSION}names": np.array(fusion.names),
        f"{_FUSION}weights": fusion.weights,
        f"{_FUSION}scale": np.stack([fusion.centre, fusion.spread]),
    }


def _fusion(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Fusion | None:
    if f"{_FUSION}names" not in arrays:
        return None
    centre, spread = np.asarray(arrays[f"{_FUSION}scale"], float)
    names = tuple(str(name) for name in arrays[f"{_FUSION}names"])
    return Fusion(names=names, weights=np.asarray(arrays[f"{_FUSION}weights"], float), centre=centre, spread=spread)


def _view(arrays: Mapping[str, npt.NDArray[np.generic]], name: str) -> View:
    def of(key: str) -> Floats:
        return np.asarray(arrays[f"{name}.{key}"], np.float32)

    centre, spread = (float(value) for value in np.asarray(arrays[f"{name}.image"], float))
    normal = Normal(
        mean=of("mean"),
        whitening=unpacked(of("whitening"), of("mean").shape[-1]),
        block=int(np.asarray(arrays[f"{name}.block"])),
        centre=of("centre"),
        spread=of("spread"),
    )
    return View(normal=normal, centre=centre, spread=spread, heard=_heard(arrays, name), course=_course(arrays, name))


def _course_arrays(name: str, course: Course | None) -> dict[str, npt.NDArray[np.generic]]:
    if course is None:
        return {}
    return {f"{name}.course-mean": course.mean, f"{name}.course-modes": course.modes}


def _course(arrays: Mapping[str, npt.NDArray[np.generic]], name: str) -> Course | None:
    if f"{name}.course-mean" not in arrays:
        return None
    mean, modes = (np.asarray(arrays[f"{name}.course-{key}"], np.float32) for key in ("mean", "modes"))
    return Course(mean=mean, modes=modes)


def _heard_arrays(name: str, heard: Heard | None) -> dict[str, npt.NDArray[np.generic]]:
    if heard is None:
        return {}
    critic = heard.critic
    return {
        f"{name}.critic-into": critic.into.astype(np.float16),
        f"{name}.critic-bias": critic.bias,
        f"{name}.critic-out": critic.out,
        f"{name}.critic-places": heard.places,
        f"{name}.critic-image": np.array([heard.centre, heard.spread, critic.level]),
    }


def _heard(arrays: Mapping[str, npt.NDArray[np.generic]], name: str) -> Heard | None:
    if f"{name}.critic-into" not in arrays:
        return None
    into, bias, out, places = (
        np.asarray(arrays[f"{name}.critic-{key}"], np.float32) for key in ("into", "bias", "out", "places")
    )
    centre, spread, level = (float(value) for value in np.asarray(arrays[f"{name}.critic-image"], float))
    return Heard(critic=Critic(into=into, bias=bias, out=out, level=level), places=places, centre=centre, spread=spread)


def packed(whitening: Floats) -> npt.NDArray[np.float16]:
    """The lower triangles, half precision: (blocks, C (C + 1) / 2)."""
    rows, columns = np.tril_indices(whitening.shape[-1])
    return whitening[:, rows, columns].astype(np.float16)


def unpacked(triangles: Floats, channels: int) -> Floats:
    """The reverse of `packed`."""
    found = np.zeros((len(triangles), channels, channels), np.float32)
    rows, columns = np.tril_indices(channels)
    found[:, rows, columns] = triangles
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place that differs.

    Attributes:
        share: of the image's strongest place, 0 to 1.
    """

    xyxy_px: BoxXyxy
    share: float


def regions(distance: Distance, surface: Surface, size_wh: tuple[int, int]) -> list[Region]:
    """Where an image differs, the strongest first; never empty: something is always the most unusual place.

    The maps of all views are laid over each other, each in its own units, and cut at a share of the peak.
    """
    heat = heat_map(distance, surface)
    top = float(heat.max())
    if top <= 0:
        return [Region(xyxy_px=(0.0, 0.0, float(size_wh[0]), float(size_wh[1])), share=1.0)]
    hot = (heat >= _REGION_OF_PEAK * top).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    scale_x, scale_y = size_wh[0] / heat.shape[1], size_wh[1] / heat.shape[0]
    found = []
    for index in range(1, count):
        x, y, width, height = (int(value) for value in boxes[index, :4])
        share = float(heat[y : y + height, x : x + width][labels[y : y + height, x : x + width] == index].max() / top)
        box = (x * scale_x, y * scale_y, (x + width) * scale_x, (y + height) * scale_y)
        found.append(Region(xyxy_px=box, share=share))
    return sorted(found, key=lambda one: -one.share)[:_MOST_REGIONS]


def heat_map(distance: Distance, surface: Surface) -> Floats:
    """The views' maps over each other, on the finest grid, weighted by how much each view says; 0 is normal."""
    shape = max((map_.shape for map_ in distance.maps.values()), key=lambda one: one[0] * one[1])
    total = np.zeros(shape, np.float32)
    weights = {name: max(value, 0.0) for name, value in distance.by_view.items()}
    scales = surface.scales
    for name, map_ in distance.maps.items():
        centre, spread = scales[name]
        seen = np.maximum((map_ - centre) / spread, 0) * weights[name]
        total += np.asarray(cv2.resize(seen, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return total
