"""A camera that sends the same picture again and again is broken, even when every frame looks fine."""

import zlib

import numpy as np

from edge_agent.domain.faults import Transient
from edge_agent.domain.frame import Pixels


class FrozenWatch:
    """Counts consecutive frames that are equal bit by bit; sensor noise makes that impossible for a live camera.

    Args:
        limit: this many equal frames in a row are a frozen camera; 0 never complains.
    """

    def __init__(self, camera_id: str, limit: int) -> None:
        self._camera_id = camera_id
        self._limit = limit
        self._last = -1
        self._repeats = 0

    def check(self, pixels: Pixels) -> None:
        """Take the next frame into account. Raises Transient when the camera is frozen."""
        if self._limit == 0:
            return
        digest = zlib.crc32(np.ascontiguousarray(pixels).data)
        self._repeats = self._repeats + 1 if digest == self._last else 1
        self._last = digest
        if self._repeats >= self._limit:
            count, self._repeats = self._repeats, 0
            raise Transient(f"camera {self._camera_id} is frozen: {count} frames in a row are equal bit by bit")
