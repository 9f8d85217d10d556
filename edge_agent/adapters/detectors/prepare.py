"""Sensor pixels to what a model takes."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.domain.frame import Pixels

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

OVERLAP_PX = 128
"""Tiles share this much: a defect up to half of it is whole in one of them, larger ones still have their centre in."""
_LETTERBOX_GREY = 114
_TO_UNIT = np.float32(1 / 255)


def eight_bit(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Deeper pixels to 8 bits, rounded; 8-bit ones unchanged.

    Cameras put 10, 12 or 14 bits into 16 without saying so: full scale is taken to be that of the smallest of these
    depths that holds the brightest pixel. The models do not mind a wrong guess: they normalise contrast.
    """
    if pixels.dtype != np.uint16:
        return np.asarray(pixels, np.uint8)
    bits = max(8, int(pixels.max()).bit_length())
    full_scale = (1 << (bits + bits % 2)) - 1
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=255 / full_scale), np.uint8)


def grey(pixels: Pixels) -> Grey:
    """(H, W) or (H, W, 3) BGR of 8 or 16 bits to (H, W) uint8, luma after ITU-R BT.601."""
    if pixels.ndim == 3:
        pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))
    return np.ascontiguousarray(eight_bit(pixels))


def moved(image: Grey, shift_xy_px: tuple[float, float] | None) -> Grey:
    """The golden image where the part is: translated by whole pixels, edges repeated.

    Whole pixels, because the models tolerate two and are trained for a residual of one, and interpolating costs
    twenty times as much.
    """
    dx, dy = (round(shift_xy_px[0]), round(shift_xy_px[1])) if shift_xy_px else (0, 0)
    if dx == 0 and dy == 0:
        return image
    height, width = image.shape
    dx, dy = max(1 - width, min(dx, width - 1)), max(1 - height, min(dy, height - 1))
    kept = image[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
    top, left = max(dy, 0), max(dx, 0)
    padded = cv2.copyMakeBorder(kept, top, max(-dy, 0), left, max(-dx, 0), cv2.BORDER_REPLICATE)
    return np.asarray(padded, np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A window of an image.

    Attributes:
        x, y: of its upper left corner.
        own_xyxy: the part of the image this tile answers for: boxes centred elsewhere belong to a neighbour.
    """

    x: int
    y: int
    own_xyxy: tuple[float, float, float, float]

    def cut(self, image: Grey, size_wh: tuple[int, int]) -> Grey:
        """The window as (1, 1, h, w), padded by repeating the image's edge where the image is smaller."""
        width, height = size_wh
        window = image[self.y : self.y + height, self.x : self.x + width]
        below, right = height - window.shape[0], width - window.shape[1]
        if below or right:
            window = np.asarray(cv2.copyMakeBorder(window, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        return np.ascontiguousarray(window)[None, None]


@lru_cache(maxsize=64)
def tiles(image_wh: tuple[int, int], tile_wh: tuple[int, int]) -> tuple[Tile, ...]:
    """Windows that cover an image at its own scale (shrinking would make small defects vanish)."""
    return tuple(_cover(image_wh, tile_wh))


def _cover(image_wh: tuple[int, int], tile_wh: tuple[int, int]) -> Iterator[Tile]:
    columns = _starts(image_wh[0], tile_wh[0])
    rows = _starts(image_wh[1], tile_wh[1])
    for row, y in enumerate(rows):
        for column, x in enumerate(columns):
            x0, x1 = _owned(columns, column, tile_wh[0])
            y0, y1 = _owned(rows, row, tile_wh[1])
            yield Tile(x=x, y=y, own_xyxy=(x0, y0, x1, y1))


def _starts(length: int, tile: int) -> list[int]:
    if length <= tile:
        return [0]
    count = -(-(length - OVERLAP_PX) // (tile - OVERLAP_PX))
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def _owned(starts: list[int], index: int, tile: int) -> tuple[float, float]:
    low = -np.inf if index == 0 else (starts[index - 1] + tile + starts[index]) / 2
    high = np.inf if index == len(starts) - 1 else (starts[index] + tile + starts[index + 1]) / 2
    return float(low), float(high)


class Canvas(threading.local):
    """A model's input of each thread, kept: fresh memory of this size costs more than what is written into it."""

    def __init__(self) -> None:
        self._tensor: Floats | None = None
        self._inner: tuple[int, int, int, int] | None = None

    def of(self, shape: tuple[int, int, int, int], inner: tuple[int, int, int, int]) -> Floats:
        """The tensor, grey around the inner rectangle (left, top, width, height); inside, whatever was there."""
        if self._tensor is None or self._tensor.shape != shape or self._inner != inner:
            self._tensor = np.full(shape, np.float32(_LETTERBOX_GREY) * _TO_UNIT, np.float32)
            self._inner = inner
        return self._tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Letterbox:
    """An image fitted into a model's input, with the way back.

    Attributes:
        tensor: (1, C, H, W) float32, 0 to 1, RGB. Its canvas' memory: good until the next image of the same thread.
        scale: input pixels per sensor pixel.
        left, top: of the image inside the input.
    """

    tensor: Floats
    scale: float
    left: int
    top: int

    @classmethod
    def of(cls, pixels: Pixels, shape: tuple[int, int, int, int], canvas: Canvas) -> "Letterbox":
        """As ultralytics does it: shrunk or grown to fit, centred on grey 114."""
        _, channels, height, width = shape
        image = eight_bit(pixels) if channels == 3 else grey(pixels)
        scale = min(width / image.shape[1], height / image.shape[0])
        new_w, new_h = round(image.shape[1] * scale), round(image.shape[0] * scale)
        if (new_w, new_h) != (image.shape[1], image.shape[0]):
            image = np.asarray(cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_LINEAR), np.uint8)
        left, top = round((width - new_w) / 2 - 0.1), round((height - new_h) / 2 - 0.1)
        tensor = canvas.of(shape, (left, top, new_w, new_h))
        for plane, values in zip(tensor[0], _planes(image, channels), strict=True):
            np.multiply(values, _TO_UNIT, out=plane[top : top + new_h, left : left + new_w], dtype=np.float32)
        return cls(tensor=tensor, scale=scale, left=left, top=top)


def _planes(image: npt.NDArray[np.uint8], channels: int) -> Sequence[npt.NDArray[np.uint8]]:
    """The channels in the model's order: RGB of BGR; a grey image is all of them."""
    if image.ndim == 2 or image.shape[2] == 1:
        return [image.reshape(image.shape[:2])] * channels
    return cv2.split(image)[::-1]
