"""Decoded video frames to pixels."""

from typing import Any

import numpy as np

from edge_agent.domain.frame import Pixels

_GREY = {"gray": "gray", "gray8": "gray", "gray16le": "gray16le", "gray10le": "gray16le", "gray12le": "gray16le"}


def to_pixels(frame: Any) -> Pixels:
    """A PyAV video frame to (H, W) grey or (H, W, 3) BGR, without its line padding."""
    pixels: Pixels = np.ascontiguousarray(frame.to_ndarray(format=_GREY.get(frame.format.name, "bgr24")))
    return pixels
