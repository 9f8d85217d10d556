"""A USB camera through OpenCV and V4L2, kept thin."""

import threading
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np

from edge_agent.adapters.cameras.live import Frames, LiveCamera
from edge_agent.config.stations import V4l2CameraOptions
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import Clock


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that is used here."""

    def isOpened(self) -> bool: ...  # noqa: N802
    def set(self, prop: int, value: float) -> bool: ...
    def get(self, prop: int) -> float: ...
    def read(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...


class V4l2Camera(LiveCamera):
    """Implements ``ports.Camera``. The driver's queue is emptied all the time, so that no old frame waits in it.

    Args:
        capture: opens the device; another one for tests.
    """

    def __init__(
        self,
        options: V4l2CameraOptions,
        *,
        camera_id: str,
        clock: Clock,
        capture: Callable[[str], Capture] = lambda device: cv2.VideoCapture(device, cv2.CAP_V4L2),
    ) -> None:
        super().__init__(
            self._stream,
            camera_id=camera_id,
            clock=clock,
            source=options.device,
            stall_s=options.stall_timeout_s,
            latency_ms=options.latency_ms,
            frozen_after=options.frozen_after,
        )
        self._options = options
        self._capture = capture

    def _stream(self, stop: threading.Event) -> Frames:
        device = self._capture(self._options.device)
        try:
            if not device.isOpened():
                raise Transient(f"camera {self._camera_id}: cannot open {self._options.device}")
            self._apply(device)
            while not stop.is_set():
                ok, image = device.read()
                if not ok or image is None:
                    raise Transient(f"camera {self._camera_id}: {self._options.device} stopped delivering frames")
                yield _pixels(image)
        finally:
            device.release()

    def _apply(self, device: Capture) -> None:
        """Set format and size, and read them back: a driver silently takes the nearest it has."""
        options = self._options
        device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        wanted: list[tuple[str, int, float | None]] = [
            ("fourcc", cv2.CAP_PROP_FOURCC, _fourcc(options.fourcc)),
            ("width_px", cv2.CAP_PROP_FRAME_WIDTH, options.width_px),
            ("height_px", cv2.CAP_PROP_FRAME_HEIGHT, options.height_px),
        ]
        asked = [(key, prop, value) for key, prop, value in wanted if value is not None]
        for _, prop, value in asked:
            device.set(prop, float(value or 0))
        for key, prop, value in asked:
            found = device.get(prop)
            if found != value:
                text = f"{key}: {options.device} has {found:g} instead of {value:g}; see v4l2-ctl --list-formats-ext"
                raise ConfigError(f"camera {self._camera_id}: {text}")


def _fourcc(code: str | None) -> float | None:
    return None if code is None else float(sum(ord(letter) << (8 * place) for place, letter in enumerate(code)))


def _pixels(image: Any) -> Any:
    """(H, W, 1) becomes (H, W); a copy, because the driver's buffer is used again."""
    return np.array(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
