"""Crops of defects as points: near each other when they look alike. No network: nothing to fetch, nothing to age.

A crop is the box with half its size of surroundings, 32x32. Its features: the histogram of oriented gradients of the
crop (Dalal and Triggs 2005), the histogram of each colour channel, and, where there is a golden image, an 8x8 map of
what is darker and brighter than on it: an open and a short look alike, but one lacks what the golden image has.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.domain.defect import BoxXyxy

Grey = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

SIDE = 32
_CONTEXT = 0.5
_MIN_SIDE_PX = 12.0
_BINS = 8
_CELLS, _ANGLES = 4, 9
"""4x4 cells of 8x8 pixels, 9 unsigned directions; blocks of 2x2 cells are normalised, one cell apart."""
HOG_SIZE = (_CELLS - 1) ** 2 * 4 * _ANGLES
GOLDEN_SIZE = 2 * 8 * 8
SIZE = HOG_SIZE + 3 * _BINS + GOLDEN_SIZE + 2
"""324 gradients, 24 of colour, 128 of the golden image, and the box's logarithmic size and shape."""


def describe(pixels: Grey, golden: Grey | None, boxes: Sequence[BoxXyxy]) -> Features:
    """Features of each box's crop.

    Args:
        pixels: (H, W) or (H, W, 3) BGR.
        golden: (H, W) grey of the same part without defects, roughly in place.

    Returns:
        (boxes, SIZE) float32; a box without any pixel inside the image has NaN.
    """
    rows = np.full((len(boxes), SIZE), np.nan, np.float32)
    for row, box in zip(rows, boxes, strict=True):
        crop = _crop(pixels, box)
        if crop is None:
            continue
        twin = _crop(golden, box) if golden is not None and golden.shape[:2] == pixels.shape[:2] else None
        row[:] = _features(crop, twin, box)
    return rows


def _features(crop: Grey, twin: Grey | None, box: BoxXyxy) -> Features:
    grey = crop if crop.ndim == 2 else np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), np.uint8)
    width, height = max(1.0, box[2] - box[0]), max(1.0, box[3] - box[1])
    shape = np.array([np.log(width * height), abs(np.log(width / height))])
    parts = [_gradients(grey), _colours(crop), _against(grey, twin), shape]
    return np.concatenate(parts).astype(np.float32)


_CELL_OF_PIXEL = np.add.outer(np.arange(SIDE) // 8 * _CELLS, np.arange(SIDE) // 8)


def _gradients(grey: Grey) -> npt.NDArray[np.float64]:
    """(324,) histogram of oriented gradients of a 32x32 crop (OpenCV 5 has none)."""
    light = grey.astype(np.float32)
    dx, dy = cv2.Sobel(light, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(light, cv2.CV_32F, 0, 1, ksize=1)
    direction = ((np.arctan2(dy, dx) % np.pi) * (_ANGLES / np.pi)).astype(np.intp) % _ANGLES
    index = (_CELL_OF_PIXEL * _ANGLES + direction).ravel()
    cells = np.bincount(index, np.hypot(dx, dy).ravel(), _CELLS * _CELLS * _ANGLES).reshape(_CELLS, _CELLS, _ANGLES)
    blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=2)
    normed: npt.NDArray[np.float64] = blocks / (np.linalg.norm(blocks, axis=2, keepdims=True) + 1.0)
    return normed.ravel()


def _colours(crop: Grey) -> npt.NDArray[np.float64]:
    """Share of pixels in 8 bins of each channel; a grey crop has one channel, thrice."""
    channels = crop.reshape(-1, 1 if crop.ndim == 2 else 3)
    shares = [np.bincount(channels[:, one] >> 5, minlength=_BINS) / len(channels) for one in range(channels.shape[1])]
    return np.concatenate(shares * (3 // len(shares)))


def _against(grey: Grey, twin: Grey | None) -> npt.NDArray[np.float64]:
    """8x8 means of what is darker and brighter than the golden image, 0 to 1; zeros without one."""
    if twin is None:
        return np.zeros(GOLDEN_SIZE)
    change = grey.astype(np.float32) - twin
    maps = [cv2.resize(np.maximum(one, 0), (8, 8), interpolation=cv2.INTER_AREA) for one in (change, -change)]
    return np.concatenate([one.ravel() for one in maps]) / 255.0


def _crop(pixels: Grey, box: BoxXyxy) -> Grey | None:
    """The box with its surroundings, square, 32x32; what lies outside the image repeats its edge."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box
    half = max((x1 - x0) * (0.5 + _CONTEXT / 2), (y1 - y0) * (0.5 + _CONTEXT / 2), _MIN_SIDE_PX / 2)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = max(0, round(cx - half)), max(0, round(cy - half))
    right, bottom = min(width, round(cx + half)), min(height, round(cy + half))
    if right - left < 1 or bottom - top < 1 or x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        return None
    shrinks = right - left > SIDE
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels[top:bottom, left:right], (SIDE, SIDE), interpolation=how), np.uint8)
