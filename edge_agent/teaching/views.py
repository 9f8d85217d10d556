"""From a network's features to views: several looks at one image, each good at another kind of flaw."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

STRIDES = (2, 4, 8, 16)
"""Of the feature maps that views are made of, in this order."""
PAD_PX = 32
"""The image is mirrored by this much around its rim before the network sees it, and cut off after: what the network
makes of its own zero padding looks like no surface at all and would be what is found first."""
GRID_PX = 32
"""Sides of the working image are multiples of this."""


def cropped(taps: Sequence[Floats]) -> list[Floats]:
    """Feature maps, (C, h, w) for each of `STRIDES`, without the mirrored rim."""
    rims = [PAD_PX // stride for stride in STRIDES]
    return [tap[:, rim:-rim, rim:-rim] for tap, rim in zip(taps, rims, strict=True)]


FINER = 1.5
"""`finer_views` look at the image at this many times the working size."""
BLOCKS = {"deep": 2, "wide": 1, "vast": 1, "tone": 1, "fine": 2, "thin": 2, "shade": 1}
"""Views, and the side of the blocks of places that share a covariance."""
CRITICS = frozenset({"thin"})
"""Views that a critic looks at, too."""
COURSES = frozenset({"shade"})
"""Views that the course of good images is taken out of first (see `course`)."""


def views(taps: Sequence[Floats], bgr: npt.NDArray[np.uint8]) -> dict[str, Floats]:
    """The views of one image by name, (h, w, C) each.

    Strides are never interpolated upwards: between two cells the variance is smaller than in one, and a Gaussian of
    both takes that for the rule.

    ``deep``: strides 8 and 16 on a grid of 16 pixels: shapes, edges, most flaws.
    ``vast``: the same averaged over 32 pixels: what is spread out.
    ``wide``: strides 2 to 8 averaged over 32 pixels: texture that is rubbed, long thin lines, stains.
    ``tone``: brightness and colour against the surroundings, without the slow course of the light.
    ``shade``: brightness and colour as they are.

    Args:
        taps: feature maps of `STRIDES`, (C, h, w).
        bgr: the working image itself, (H, W, 3).
    """
    two, four, eight, _ = taps
    deep = deep_cells(taps)
    shallow = np.concatenate([pooled(two, 16), pooled(four, 8), pooled(eight, 4)])
    found = {"deep": deep, "wide": shallow, "vast": pooled(deep, 2)}
    made = {name: np.ascontiguousarray(view.transpose(1, 2, 0)) for name, view in found.items()}
    return made | {"tone": tone(bgr), "shade": shade(bgr)}


def deep_cells(taps: Sequence[Floats]) -> Floats:
    """Strides 8 and 16 on a grid of 16 pixels, (C, h, w)."""
    return np.concatenate([pooled(taps[2], 2), taps[3]])


def finer_views(taps: Sequence[Floats]) -> dict[str, Floats]:
    """The views of the image at `finer_size`.

    ``fine``: strides 8 and 16: thin lines, small shapes.
    ``thin``: of strides 2 and 4 the mean and the largest value in 16 pixels: lines and specks that a mean hides.
    """
    two, four, _, _ = taps
    thin = np.concatenate([pooled(two, 8), pooled(four, 4), largest(two, 8), largest(four, 4)])
    found = {"fine": deep_cells(taps), "thin": thin}
    return {name: np.ascontiguousarray(view.transpose(1, 2, 0)) for name, view in found.items()}


def finer_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height for `finer_views`."""
    return _on_grid(size_wh[0] * FINER), _on_grid(size_wh[1] * FINER)


def tone(bgr: npt.NDArray[np.uint8]) -> Floats:
    """Lightness and colour (CIELAB) on a grid of 16 pixels: three band-passes, and what a slow surface leaves over."""
    lab = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB), np.float32)
    width, height = lab.shape[1] // 8, lab.shape[0] // 8
    cells = np.asarray(cv2.resize(lab, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    soft = [_blurred(cells, sigma) for sigma in (1.0, 2.0, 4.0, 8.0)]
    bands = [soft[0] - soft[2], soft[1] - soft[3], cells - soft[1], _blurred(cells - _slow(cells), 1.0)]
    return np.ascontiguousarray(pooled(np.concatenate(bands, axis=2).transpose(2, 0, 1), 2).transpose(1, 2, 0))


def shade(bgr: npt.NDArray[np.uint8]) -> Floats:
    """Lightness and colour (CIELAB, around 0) on a grid of 16 pixels."""
    lab = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB), np.float32) - 128
    size = (lab.shape[1] // 16, lab.shape[0] // 16)
    return np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.float32)


def _blurred(cells: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(cells, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.float32)


def _slow(cells: Floats) -> Floats:
    """The quadratic surface nearest to each channel: the course of the light."""
    height, width, channels = cells.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1).reshape(-1, 6)
    found, *_ = np.linalg.lstsq(terms, cells.reshape(-1, channels), rcond=None)
    return np.asarray((terms @ found).reshape(cells.shape), np.float32)


def pooled(features: Floats, factor: int) -> Floats:
    """Means of factor x factor cells; (C, h, w), sides divisible by the factor."""
    channels, height, width = features.shape
    cells = features.reshape(channels, height // factor, factor, width // factor, factor)
    return np.asarray(cells.mean(axis=(2, 4)), np.float32)


def largest(features: Floats, factor: int) -> Floats:
    """The largest of factor x factor cells; as `pooled`."""
    channels, height, width = features.shape
    cells = features.reshape(channels, height // factor, factor, width // factor, factor)
    return np.asarray(cells.max(axis=(2, 4)), np.float32)


def working_size(size_wh: tuple[int, int], side_px: int) -> tuple[int, int]:
    """Width and height at which an image is looked at: about ``side_px`` squared in area, its own shape.

    Each side a multiple of `GRID_PX`; an image is at most doubled.
    """
    width, height = size_wh
    scale = min(side_px / (width * height) ** 0.5, 2.0)
    return _on_grid(width * scale), _on_grid(height * scale)


def _on_grid(length: float) -> int:
    return max(2, round(length / GRID_PX)) * GRID_PX
