"""The camera's own line: every frame that the camera delivers is a part."""

import threading
from collections.abc import Callable, Mapping

from edge_agent.config.stations import CameraTriggerOptions
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.ports import Clock, PlantLink

AwaitFrame = Callable[[float], int | None]
"""A camera's ``await_frame``: waits at most so many seconds; the number of a frame that is kept for its shot."""


class CameraTrigger:
    """Implements ``ports.TriggerSource``.

    Args:
        await_frame: of this station's camera; the shot's ``sequence`` is the number it returns, and `grab` hands out
            that very frame. Without it every `wait` is a shot, and the camera's `grab` is what waits.
    """

    patient = False

    def __init__(
        self,
        options: CameraTriggerOptions,
        *,
        station_id: str,
        strata: Mapping[str, str],
        clock: Clock,
        link: PlantLink | None = None,
        await_frame: AwaitFrame | None = None,
    ) -> None:
        self._options = options
        self._station_id = station_id
        self._strata = dict(strata)
        self._clock = clock
        self._await_frame = await_frame
        self._count = 0
        self._missed = 0
        self._closed = threading.Event()

    def open(self) -> None:
        """Nothing to connect: the camera has its own connection."""
        self._closed.clear()

    def wait(self, timeout_s: float) -> Shot | None:
        """A shot for the next frame."""
        if self._closed.is_set():
            return None
        number = self._count + 1 if self._await_frame is None else self._await_frame(timeout_s)
        if number is None:
            return None
        self._missed += max(0, number - self._count - 1)
        self._count = number
        shot_id = self._clock.new_id()
        return Shot(
            shot_id=shot_id,
            station_id=self._station_id,
            part_id=str(shot_id),
            product_id=self._options.product_id,
            trigger_id=f"camera-{number}",
            triggered_at=self._clock.now(),
            triggered_ns=self._clock.monotonic_ns(),
            sequence=number,
            strata=self._strata,
        )

    def missed(self) -> int:
        """Frames that were announced and never asked for."""
        return self._missed

    def refusals(self) -> list[tuple[Shot, Reason]]:
        """None: every request becomes a shot."""
        return []

    def close(self) -> None:
        """Hand out no more shots."""
        self._closed.set()
