"""What an outbox near its quota gives up, and what it never does.

In this order, from 80 % of the quota on until 70 % are reached: what was sent and is kept for people only; telemetry
that a later value has made old; results of good parts, which become counts per minute. At the quota all telemetry goes,
and of the defects of a class in a minute only the first keeps its image. Orders, findings and results of parts that
were not good are never dropped: then the outbox is over its quota, which is an alarm, and the disk decides.
"""

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from edge_agent.config.plant import MqttSection
from edge_agent.contract import outbound, payloads
from edge_agent.contract.envelope import Sender, compact
from edge_agent.domain.message import Lane, OutboxRow
from edge_agent.observability import metrics
from edge_agent.ports import Clock, Outbox, Store, UnitOfWork

log = structlog.get_logger(__name__)

HIGH, LOW = 0.8, 0.7
LOOK_EVERY_S = 30.0
BATCH = 2_000
"""Rows given up in one transaction: inspections wait for the writer meanwhile."""
ROW_BYTES = 300
"""Of a row beside its body, with its indexes."""
RUNS_AT_MOST = 100
MINUTE = timedelta(minutes=1)

Key = tuple[str, str, str, datetime]


def limit_bytes(options: MqttSection, folder: Path | None) -> int:
    """The quota: so many MiB or so much of the disk that holds the store, whichever is less.

    Args:
        folder: on that disk; None: the store is on another machine.
    """
    agreed = options.quota_mib * 2**20
    if folder is None:
        return agreed
    return min(agreed, int(shutil.disk_usage(folder).total * options.quota_disk_percent / 100))


class Quota:
    """Keeps the outbox below its quota. Used by the relay's thread: it knows what is on its way."""

    def __init__(self, store: Store, *, limit_bytes: int, sender: Sender, clock: Clock) -> None:
        self._store, self._sender, self._clock = store, sender, clock
        self._limit = limit_bytes
        self._look_at_s = 0.0
        self._shedding = False
        self._alarmed = False
        self.used = 0.0

    def due(self) -> bool:
        """Is it time to look?"""
        return time.monotonic() >= self._look_at_s

    def step(self, flying: frozenset[int]) -> int:
        """Look, and give up one batch if need be; how many rows. Call again soon when it is not 0.

        Raises:
            Transient: the store is not available.
        """
        self.used = self._measure()
        metrics.OUTBOX_QUOTA_USED.set(self.used)
        self._shedding = self.used > (LOW if self._shedding else HIGH)
        gone = self._shed(flying) if self._shedding else 0
        self._look_at_s = time.monotonic() + (0.0 if gone else LOOK_EVERY_S)
        self._tell(gone)
        return gone

    def _measure(self) -> float:
        with self._store.reader() as reader:
            return used_bytes(reader.outbox) / self._limit

    def _shed(self, flying: frozenset[int]) -> int:
        ways: list[Callable[[UnitOfWork, frozenset[int]], int]] = [self._history, self._outdated, self._counted]
        if self.used >= 1.0:
            ways += [self._telemetry, self._thinned]
        for way in ways:
            with self._store.unit(durable=False) as unit:
                gone = way(unit, flying)
                unit.commit()
            if gone:
                return gone
        return 0

    def _history(self, unit: UnitOfWork, _flying: frozenset[int]) -> int:
        return unit.outbox.prune(self._clock.now())

    def _outdated(self, unit: UnitOfWork, flying: frozenset[int]) -> int:
        return _forget(unit, unit.outbox.outdated(Lane.TELEMETRY, BATCH, exclude=flying), "outdated")

    def _telemetry(self, unit: UnitOfWork, flying: frozenset[int]) -> int:
        return _forget(unit, unit.outbox.unsent(Lane.TELEMETRY, BATCH, exclude=flying), "dropped")

    def _counted(self, unit: UnitOfWork, flying: frozenset[int]) -> int:
        rows = unit.outbox.expendable(Lane.RESULTS, BATCH, exclude=flying)
        for data in counts(rows):
            unit.outbox.add(outbound.result_count(data, sender=self._sender, clock=self._clock))
        return _forget(unit, [row.sequence for row in rows], "counted")

    def _thinned(self, unit: UnitOfWork, flying: frozenset[int]) -> int:
        bodies = thinned(unit.outbox.expendable(Lane.FINDINGS, BATCH, exclude=flying))
        unit.outbox.slim(bodies)
        metrics.OUTBOX_SHED.labels("thinned").inc(len(bodies))
        return len(bodies)

    def _tell(self, gone: int) -> None:
        """Once when it becomes full, once when it is not any more."""
        full = self.used >= 1.0 and not gone
        if full and not self._alarmed:
            log.error("the outbox is over its quota and holds only what must be kept", used=round(self.used, 2))
        if self._alarmed and self.used < HIGH:
            log.info("the outbox is below its quota again", used=round(self.used, 2))
        self._alarmed = full or (self._alarmed and self.used >= HIGH)


def used_bytes(outbox: Outbox) -> int:
    """What the quota is compared with: everything that is kept, with an allowance for each row."""
    lanes, (rows, size) = outbox.usage(), outbox.finished()
    rows += sum(lane.rows for lane in lanes)
    size += sum(lane.size_bytes for lane in lanes)
    return size + rows * ROW_BYTES


def counts(rows: Sequence[OutboxRow]) -> list[payloads.ResultCount]:
    """Results of good parts as counts: one for each station, product and minute."""
    groups: dict[Key, list[int]] = defaultdict(list)
    for row in rows:
        groups[_key(row)].append(row.sequence)
    return [
        payloads.ResultCount(
            station_id=station,
            product_id=product,
            disposition=disposition,
            start=minute,
            end=minute + MINUTE,
            count=len(sequences),
            sequences=_runs(sequences),
        )
        for (station, product, disposition, minute), sequences in groups.items()
    ]


def thinned(rows: Sequence[OutboxRow]) -> dict[int, bytes]:
    """Bodies of defect events, by sequence number: the first of a station, class and minute as it is, the others
    without their image."""
    seen: set[tuple[str, str, datetime]] = set()
    bodies: dict[int, bytes] = {}
    for row in rows:
        event = json.loads(row.message.body)
        data: dict[str, Any] = event["data"]
        key = data["stationId"], data["defectClass"], row.message.created_at.replace(second=0, microsecond=0)
        if key in seen:
            data.pop("imageRef", None)
        seen.add(key)
        bodies[row.sequence] = compact(event)
    return bodies


def _key(row: OutboxRow) -> Key:
    data: dict[str, Any] = json.loads(row.message.body)["data"]
    minute = row.message.created_at.replace(second=0, microsecond=0)
    return data["stationId"], data["productId"], data["disposition"], minute


def _runs(sequences: Iterable[int]) -> list[list[int]]:
    """Unbroken runs; when there are too many, the last one spans what is left."""
    runs: list[list[int]] = []
    for number in sorted(sequences):
        if runs and (runs[-1][1] == number - 1 or len(runs) == RUNS_AT_MOST):
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def _forget(unit: UnitOfWork, sequences: Sequence[int], how: str) -> int:
    gone = unit.outbox.forget(sequences)
    metrics.OUTBOX_SHED.labels(how).inc(gone)
    return gone
