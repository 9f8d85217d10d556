"""Cameras' innards in memory: a machine vision device and a V4L2 capture, steered by the test."""

import threading
import time
from collections import deque
from typing import Any

import cv2
import numpy as np

from edge_agent.adapters.cameras.vision import Block
from edge_agent.domain.faults import Transient


def block(value: int, *, lost_before: int = 0, damage: str = "") -> Block:
    """A frame whose pixels all have one value."""
    pixels = None if damage else np.full((4, 6), value, np.uint8)
    return Block(pixels=pixels, lost_before=lost_before, damage=damage)


class FakeDevice:
    """Implements ``vision.Device``. ``waiting`` are the blocks that have arrived.

    ``answers`` are delivered one for each software trigger (None: the camera does not answer).
    """

    source = "fake"

    def __init__(self) -> None:
        self.waiting: deque[Block] = deque()
        self.answers: deque[Block | None] = deque()
        self.late: list[Block] = []
        self.connects = 0
        self.restarts = 0
        self.gone = False
        self.probes = 0

    def connect(self) -> None:
        self._alive()
        self.connects += 1

    def fire(self) -> None:
        self._alive()
        answer = self.answers.popleft() if self.answers else None
        if answer is not None:
            self.waiting.append(answer)

    def next_block(self, timeout_s: float) -> Block | None:
        self._alive()
        return self.waiting.popleft() if self.waiting else None

    def restart(self) -> None:
        self._alive()
        self.restarts += 1
        self.waiting.clear()

    def probe(self) -> None:
        self.probes += 1
        self._alive()

    def disconnect(self) -> None:
        self.waiting.clear()

    def _alive(self) -> None:
        if self.gone:
            raise Transient("the fake camera is gone")


class FakeCapture:
    """Implements ``v4l2.Capture``: frames of noise, each another one.

    Args:
        fixed: properties that the driver does not let go of.
    """

    def __init__(self, *, size_wh: tuple[int, int] = (64, 48), fixed: dict[int, float] | None = None) -> None:
        self._properties: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: size_wh[0],
            cv2.CAP_PROP_FRAME_HEIGHT: size_wh[1],
        }
        self._fixed = fixed or {}
        self._rng = np.random.default_rng(1)
        self.opened = True
        self.unplugged = threading.Event()
        self.frozen = False
        self.released = False
        self._image = self._noise()

    def isOpened(self) -> bool:  # noqa: N802
        return self.opened

    def set(self, prop: int, value: float) -> bool:
        self._properties[prop] = self._fixed.get(prop, value)
        return prop not in self._fixed

    def get(self, prop: int) -> float:
        return self._fixed.get(prop, self._properties.get(prop, 0.0))

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.005)
        if self.unplugged.is_set():
            return False, None
        if not self.frozen:
            self._image = self._noise()
        return True, self._image

    def release(self) -> None:
        self.released = True

    def _noise(self) -> Any:
        width, height = (
            int(self._properties[cv2.CAP_PROP_FRAME_WIDTH]),
            int(self._properties[cv2.CAP_PROP_FRAME_HEIGHT]),
        )
        return self._rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
