"""Flaws put onto good images, so that a lesson learns what a flaw does to this surface.

They stand for no flaw in particular: lines, specks, spots, patches of another tone, pieces from elsewhere, rubbed or
roughened places, dents, of many sizes and from hardly visible to plain. What they change in the features tells which
directions matter (see `gaussians`); how good images vary is learned from the good ones alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
Features = Mapping[str, Floats]
"""(h, w, C) by view."""
Spoiler = Callable[[Floats, np.random.Generator], tuple[Floats, Floats]]

_LEAST_LEVELS = 3.0
"""On a surface without any texture a flaw has at least this contrast, in grey levels."""


WANTED = 200
"""So many spoiled images are made, about."""
_GRID = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spoilt:
    """A good image with a flaw put onto it.

    Attributes:
        of: index of the good image.
        kind: of flaw, a name of ``SPOILERS``.
        where: how much of each of 64 x 64 places is covered, 0 to 1.
        features: of the spoiled image.
    """

    of: int
    kind: str
    where: Floats
    features: Features


def spoilt_number(number: int) -> int:
    """So many spoiled images are made of this many good ones: at most four of each."""
    return min(WANTED, 4 * number)


def spoilt_images(
    number: int, picture: Callable[[int], Picture], views: Callable[[Picture], Features]
) -> Iterator[Spoilt]:
    """Good images with flaws: evenly over the images, all kinds in turn, the same every time.

    Args:
        number: of good images.
        picture: a good image by index, (h, w, 3), BGR.
        views: its features.
    """
    kinds = list(SPOILERS)
    for index in range(spoilt_number(number)):
        of = index % number if number <= WANTED else index * number // WANTED
        kind = kinds[(index + index // number) % len(kinds)]
        image, where = spoiled(picture(of), np.random.default_rng([11, index]), kind)
        small = np.asarray(cv2.resize(where, (_GRID, _GRID), interpolation=cv2.INTER_AREA), np.float32)
        yield Spoilt(of=of, kind=kind, where=small, features=views(image))


def spoiled(image: Picture, rng: np.random.Generator, kind: str) -> tuple[Picture, Floats]:
    """An image with a flaw, and where it is (h, w), 0 to 1.

    Args:
        image: (h, w, 3), BGR.
        kind: a name of ``SPOILERS``.
    """
    changed, where = SPOILERS[kind](image.astype(np.float32), rng)
    return np.asarray(np.clip(changed + 0.5, 0, 255), np.uint8), where


def _side(image: Floats) -> float:
    return float(np.sqrt(image.shape[0] * image.shape[1]))


def _place(image: Floats, rng: np.random.Generator) -> tuple[float, float]:
    height, width = image.shape[:2]
    return float(rng.uniform(0.1, 0.9) * width), float(rng.uniform(0.1, 0.9) * height)


def _contrast(image: Floats, where: Floats, rng: np.random.Generator, low: float, high: float) -> Floats:
    """A step in grey levels for each channel: so many times the texture's own contrast there, of either sign."""
    grey = image.mean(axis=2)
    rough = grey - cv2.GaussianBlur(grey, (0, 0), 4)
    inside = where > 0.2
    texture = float(rough[inside].std()) if inside.any() else float(rough.std())
    step = max(texture, _LEAST_LEVELS) * float(np.exp(rng.uniform(np.log(low), np.log(high))))
    tint = np.ones(3) if rng.random() < 0.6 else rng.normal(0, 1, 3)
    tint = tint / np.sqrt((tint**2).mean())
    return np.asarray(rng.choice([-1, 1]) * step * tint, np.float32)


def _added(image: Floats, where: Floats, step: Floats) -> tuple[Floats, Floats]:
    return np.asarray(image + where[:, :, None] * step, np.float32), where


def _spot(image: Floats, rng: np.random.Generator, reach: float, edge: float) -> Floats:
    """An ellipse with an uneven outline and an edge this wide, in pixels."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    cx, cy = _place(image, rng)
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(0.6, 1.6)
    along = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
    across = -(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)
    angle = np.arctan2(across, along)
    outline = reach * (1 + 0.15 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.1 * np.cos(3 * angle + rng.uniform(0, 6)))
    inside = outline - np.hypot(along * stretch, across / stretch)
    return np.asarray(np.clip(inside / edge + 0.5, 0, 1), np.float32)


def line(image: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A thin line: straight, bent or jagged."""
    side, steps = _side(image), 16
    turn = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, rng.choice([0.02, 0.15, 0.5]), steps))
    path = np.cumsum(np.stack([np.cos(turn), np.sin(turn)], 1), axis=0) * rng.uniform(0.12, 0.5) * side / steps
    drawn = np.zeros(image.shape[:2], np.uint8)
    points = np.round((np.array(_place(image, rng)) + path - path.mean(0)) * 16).astype(np.int32)
    cv2.polylines(drawn, [points], False, 255, int(rng.integers(1, 3)), cv2.LINE_AA, 4)
    where = np.asarray(cv2.GaussianBlur(drawn, (0, 0), rng.uniform(0.3, 0.8)) / np.float32(255), np.float32)
    return _added(image, where, _contrast(image, where, rng, 1.2, 5))


def specks(image: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A few small dots close together, or one."""
    centre, reach = np.array(_place(image, rng)), 0.03 * _side(image)
    drawn = np.zeros(image.shape[:2], np.uint8)
    for _ in range(int(rng.integers(1, 6))):
        at = np.round((centre + rng.normal(0, reach, 2)) * 16).astype(int)
        radius = rng.uniform(0.004, 0.014) * _side(image)
        cv2.circle(drawn, at.tolist(), round(radius * 16), 255, -1, cv2.LINE_AA, 4)
    where = np.asarray(drawn / np.float32(255), np.float32)
    return _added(image, where, _contrast(image, where, rng, 1.2, 5))


def spot(image: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A spot with an edge."""
    where = _spot(image, rng, rng.uniform(0.02, 0.07) * _side(image), rng.uniform(1, 4))
    return _added(image, where, _contrast(image, where, rng, 0.6, 2.5))


def tinge(image: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A larger patch, a little lighter, darker or of another colour, with a soft edge or a rim."""
    side = _side(image)
    where = _spot(image, rng, rng.uniform(0.06, 0.2) * side, rng.uniform(0.01, 0.06) * side)
    if rng.random() < 0.3:
        where = np.asarray(0.5 * where + 0.5 * 4 * where * (1 - where), np.float32)
    return _added(image, where, _contrast(image, where, rng, 0.35, 1.6))


def transplant(image: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A piece of the image, turned, in another place ("CutPaste", Li et al. 2021)."""
    where = _spot(image, rng, rng.uniform(0.03, 0.09) * _side(image), 2)
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.choice([90.0, 180.0, 270.0, 45.0]), 1)
    turn[:, 2] += rng.uniform(-0.3, 0.3, 2) * (width, height)
    other = np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT), np.float32)
    return np.asarray(image + where[:, :, None] * (other - image), np.float32), where


def rubbed(image: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A place where the texture is smoother or rougher."""
    where = _spot(image, rng, rng.uniform(0.04, 0.13) * _side(image), 4)
    grain = rng.standard_normal(image.shape[:2]).astype(np.float32)
    grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.7, 2.5)), np.float32)
    step = np.abs(_contrast(image, where, rng, 0.7, 2))
    smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(1.5, 4)), np.float32)
    other = smooth if rng.random() < 0.5 else image + (grain / grain.std())[:, :, None] * step
    return np.asarray(image + where[:, :, None] * (other - image), np.float32), where


def dent(image: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A dip: one flank lighter, one darker, and the texture moves."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    (cx, cy), reach, lamp = _place(image, rng), rng.uniform(0.02, 0.07) * _side(image), rng.uniform(0, 2 * np.pi)
    dip = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * reach**2)).astype(np.float32)
    slope_x, slope_y = -(x - cx) / reach * dip, -(y - cy) / reach * dip
    moved = cv2.remap(image, x + 3 * slope_x, y + 3 * slope_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    flank = (slope_x * np.cos(lamp) + slope_y * np.sin(lamp)) / 0.6
    step = _contrast(image, dip, rng, 0.8, 3)
    return np.asarray(moved + flank[:, :, None] * step, np.float32), dip


SPOILERS: dict[str, Spoiler] = {
    "line": line, "specks": specks, "spot": spot, "tinge": tinge, "transplant": transplant, "rubbed": rubbed,
    "dent": dent,
}  # fmt: skip
