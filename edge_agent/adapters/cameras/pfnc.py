"""GenICam pixel formats (PFNC names) to the two layouts that a frame may have."""

from typing import Any

import cv2
import numpy as np

from edge_agent.domain.faults import ConfigError
from edge_agent.domain.frame import Pixels

_GREY_BITS = {"Mono8": 8, "Mono10": 10, "Mono12": 12, "Mono14": 14, "Mono16": 16}
_COLOUR = {
    "RGB8": cv2.COLOR_RGB2BGR,
    "RGBa8": cv2.COLOR_RGBA2BGR,
    "BGRa8": cv2.COLOR_BGRA2BGR,
    "BayerRG8": cv2.COLOR_BayerRGGB2BGR,
    "BayerGB8": cv2.COLOR_BayerGBRG2BGR,
    "BayerGR8": cv2.COLOR_BayerGRBG2BGR,
    "BayerBG8": cv2.COLOR_BayerBGGR2BGR,
}
KNOWN = frozenset(_GREY_BITS) | frozenset(_COLOUR) | {"BGR8"}
"""Formats that can be inspected."""


def require(pixel_format: str, *, camera_id: str) -> None:
    """Raise ConfigError when frames of this format could not be read."""
    if pixel_format not in KNOWN:
        text = f"pixel format {pixel_format!r} is not one of {', '.join(sorted(KNOWN))}"
        raise ConfigError(f"camera {camera_id}: {text}")


def to_pixels(image: Any, pixel_format: str) -> Pixels:
    """An array as the camera sent it to (H, W) grey or (H, W, 3) BGR.

    Formats of 10 to 14 bits come with their highest bit as the highest of uint16, so that full scale is the same for
    every camera: the gate's brightness limits mean what they say. Nothing is lost by it.

    Args:
        image: (H, W) or (H, W, channels), uint8 or uint16, in the order that the format's name says; Bayer as mosaic.
    """
    code = _COLOUR.get(pixel_format)
    if code is not None:
        return np.asarray(cv2.cvtColor(image, code))
    pixels: Pixels = np.ascontiguousarray(image)
    bits = _GREY_BITS.get(pixel_format, 8)
    return pixels << np.uint16(16 - bits) if 8 < bits < 16 else pixels
