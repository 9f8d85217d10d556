"""The box's figures for the plant's historian: ``out/metric/{name}``, one retained number each."""

import math
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from edge_agent.contract import outbound, topics
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.message import OutboxState
from edge_agent.ports import Clock, PlantLink, Store, UnitOfWork

YIELD_OVER = timedelta(hours=1)
PACE_OVER = timedelta(minutes=5)
TIMES_OF = 500
"""Inspections at most that the times are taken from, the newest of the last five minutes."""
EVERY = timedelta(seconds=30)
GOOD_FOR_S = 300
"""The broker forgets a figure after this: one that is not renewed any more must not look like the present."""


class PlantMetrics:
    """Reads the figures from the store and publishes them, best effort: a figure that is missed comes again."""

    def __init__(self, *, store: Store, link: PlantLink, stations: Sequence[str], state: Path, clock: Clock) -> None:
        self._store = store
        self._link = link
        self._stations = tuple(stations)
        self._state = state
        self._clock = clock

    def publish(self) -> None:
        """Publish all figures. Raises Transient: the store is not available."""
        now = self._clock.now()
        for name, value in self.figures(now).items():
            body = outbound.metric(value, now)
            self._link.publish_state(body, topics.metric(name), retain=True, qos=0, expiry_s=GOOD_FOR_S)

    def figures(self, now: datetime) -> dict[str, float]:
        """Name to value. What cannot be said (the yield of no parts) is not there."""
        with self._store.reader() as unit:
            found = dict(self._of_parts(unit, now, None))
            if len(self._stations) > 1:
                for station in self._stations:
                    found |= {f"{name}.{station}": value for name, value in self._of_parts(unit, now, station)}
            found |= _of_outbox(unit, now)
        found["disk_free_bytes"] = shutil.disk_usage(self._state).free
        return found

    def _of_parts(self, unit: UnitOfWork, now: datetime, station_id: str | None) -> Iterator[tuple[str, float]]:
        counts = unit.inspections.count(now - YIELD_OVER, now, station_id=station_id)
        judged = sum(counts.values()) - counts[Evaluation.NOT_INSPECTED]
        if judged:
            yield "fpy", round(counts[Evaluation.OK] / judged, 4)
        parts = sum(unit.inspections.count(now - PACE_OVER, now, station_id=station_id).values())
        yield "parts_per_minute", round(parts / (PACE_OVER / timedelta(minutes=1)), 2)
        times_ms = sorted(
            inspection.duration_ms
            for inspection in unit.inspections.latest(TIMES_OF if parts else 0, station_id=station_id)
            if inspection.ended_at >= now - PACE_OVER and inspection.evaluation is not Evaluation.NOT_INSPECTED
        )
        if times_ms:
            yield "inspection_ms_p50", round(percentile(times_ms, 0.50), 2)
            yield "inspection_ms_p99", round(percentile(times_ms, 0.99), 2)


def _of_outbox(unit: UnitOfWork, now: datetime) -> dict[str, float]:
    counts, oldest = unit.outbox.counts(), unit.outbox.oldest_pending()
    age_s = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    return {
        "outbox_pending": counts[OutboxState.PENDING] + counts[OutboxState.SENT],
        "outbox_oldest_s": round(age_s, 1),
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of values in ascending order, at least one."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
