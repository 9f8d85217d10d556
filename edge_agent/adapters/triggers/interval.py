"""A shot every so often: for trying out, and for lines without any signal."""

import threading
from collections.abc import Mapping

from edge_agent.config.stations import IntervalTriggerOptions
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.ports import Clock, PlantLink

_POLL_S = 0.01


class IntervalTrigger:
    """Implements ``ports.TriggerSource``. A beat that nobody waited for is missed, never made up for."""

    patient = False

    def __init__(
        self,
        options: IntervalTriggerOptions,
        *,
        station_id: str,
        strata: Mapping[str, str],
        clock: Clock,
        link: PlantLink | None = None,
    ) -> None:
        self._options = options
        self._station_id = station_id
        self._strata = dict(strata)
        self._clock = clock
        self._every_ns = max(1, int(options.every_ms * 1e6))
        self._next_ns = 0
        self._count = 0
        self._missed = 0
        self._closed = threading.Event()

    def open(self) -> None:
        """Start counting time: the first shot is due at once."""
        self._closed.clear()
        self._next_ns = self._clock.monotonic_ns()

    def wait(self, timeout_s: float) -> Shot | None:
        """The next shot when it is due."""
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            now_ns = self._clock.monotonic_ns()
            if now_ns >= self._next_ns and not self._is_done():
                return self._shot(now_ns)
            if now_ns >= deadline_ns or self._closed.is_set():
                return None
            left_ns = min(deadline_ns, self._next_ns if not self._is_done() else deadline_ns) - now_ns
            self._closed.wait(min(_POLL_S, max(0.0, left_ns / 1e9)))

    def missed(self) -> int:
        """Beats that passed while nobody waited."""
        return self._missed

    def refusals(self) -> list[tuple[Shot, Reason]]:
        """None: every request becomes a shot."""
        return []

    def close(self) -> None:
        """End a waiting `wait`."""
        self._closed.set()

    def _is_done(self) -> bool:
        return self._options.count is not None and self._count >= self._options.count

    def _shot(self, now_ns: int) -> Shot:
        late = (now_ns - self._next_ns) // self._every_ns
        self._missed += late
        self._next_ns += (late + 1) * self._every_ns
        self._count += 1
        shot_id = self._clock.new_id()
        return Shot(
            shot_id=shot_id,
            station_id=self._station_id,
            part_id=str(shot_id),
            product_id=self._options.product_id,
            trigger_id=f"interval-{self._count}",
            triggered_at=self._clock.now(),
            triggered_ns=now_ns,
            sequence=self._count,
            strata=self._strata,
        )
