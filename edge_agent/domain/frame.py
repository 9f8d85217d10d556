"""A frame: pixels as the sensor gave them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""(H, W) grey or (H, W, 3) BGR, uint8 or uint16, row-major, origin top left."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One complete image from a camera. An incomplete one never becomes a Frame.

    Attributes:
        pixels: see ``Pixels``; read-only by agreement.
        captured_at: aware UTC.
        source: where it came from, for people (path, URL, device).
        dropped_before: frames the camera lost between the previous frame and this one.
    """

    frame_id: UUID
    camera_id: str
    pixels: Pixels
    captured_at: datetime
    source: str = ""
    dropped_before: int = 0

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Glimpse:
    """The pixels of one part and which product it was, for those who watch what images look like."""

    product_id: str
    pixels: Pixels
    at: datetime
