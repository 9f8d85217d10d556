"""The inside of a detector's own process: a shadow model looks at images that its parent lays down in memory."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.adapters.detectors.opening import open_detector
from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.defect import Sighting
from edge_agent.domain.faults import PartFault
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.ports import Clock


class DetectorApart:
    """Built in the child process; loads and verifies the model at once.

    Args:
        clock: makes the clock.
        encode: a sighting as JSON text.

    Raises:
        ConfigError: the model cannot be used.
    """

    def __init__(
        self,
        *,
        model_dir: Path,
        options: DetectorOptions,
        clock: Callable[[], Clock],
        encode: Callable[[Sighting], str],
    ) -> None:
        self._clock, self._encode = clock(), encode
        self._detector = open_detector(model_dir, options, clock=self._clock)
        self._detector.warm_up()

    def ready(self) -> bool:
        """It is: the constructor has verified it."""
        return True

    def look(
        self, image: Mapping[str, Any], golden: Mapping[str, Any] | None, shift_xy_px: tuple[float, float] | None
    ) -> dict[str, Any]:
        """What is seen on one image: ``sighting`` and ``processor_ms``, or ``fault`` and ``text``.

        Args:
            image, golden: ``file`` that begins with the bytes in row-major order, ``shape`` and ``dtype``.
        """
        now = self._clock.now()
        frame = Frame(frame_id=self._clock.new_id(), camera_id="shadow", pixels=_pixels(image), captured_at=now)
        reference = _pixels(golden) if golden else None
        begun = time.process_time_ns()
        try:
            sighting = self._detector.detect(frame, reference, shift_xy_px)
        except PartFault as fault:
            return {"fault": fault.code, "text": fault.text}
        spent_ms = (time.process_time_ns() - begun) / 1e6
        return {"sighting": self._encode(sighting), "processor_ms": spent_ms}


def _pixels(image: Mapping[str, Any]) -> Pixels:
    read = np.fromfile(image["file"], dtype=image["dtype"], count=math.prod(image["shape"]))
    return read.reshape(image["shape"])
