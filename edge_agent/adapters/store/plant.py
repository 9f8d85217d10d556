"""Telemetry, as a ring per signal, and plant events."""

import math
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import bindparam, func, select

from edge_agent.adapters.store.codec import decode, encode, from_us, label, to_us
from edge_agent.adapters.store.schema import events, samples, signals
from edge_agent.adapters.store.session import Session
from edge_agent.domain.plant import PlantEvent, Sample

SAMPLES_PER_SIGNAL = 1_500_000
"""One a second for 17 days: more than the default retention; a signal that floods loses its own oldest samples."""
PRUNE_BATCH = 50_000

_KNOWN_EVENT = select(events.c.seq).where(events.c.event_id == bindparam("id"))
_SIGNAL = select(signals.c.signal_id, signals.c.kept).where(signals.c.name == bindparam("signal"))
_KEPT = signals.update().where(signals.c.signal_id == bindparam("signal")).values(kept=bindparam("number"))


class SqlPlantRecords:
    """Implements ``ports.PlantRecords``."""

    def __init__(self, session: Session, *, samples_per_signal: int = SAMPLES_PER_SIGNAL) -> None:
        self._session = session
        self._capacity = samples_per_signal

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Idempotent on (signal, at). Beyond the ring's capacity the oldest of the signal go."""
        by_signal: dict[str, list[Sample]] = {}
        for sample in samples:
            by_signal.setdefault(sample.signal, []).append(sample)
        for signal, some in by_signal.items():
            self._append(signal, some)

    def series(self, signal: str, start: datetime, end: datetime) -> list[Sample]:
        """Samples in [start, end), oldest first."""
        query = (
            select(samples.c.at_us, samples.c.value)
            .join(signals, signals.c.signal_id == samples.c.signal_id)
            .where(signals.c.name == label(signal), samples.c.at_us >= to_us(start), samples.c.at_us < to_us(end))
            .order_by(samples.c.at_us)
        )
        rows = self._session.connection.execute(query)
        return [Sample(signal=signal, value=value, at=from_us(at_us)) for at_us, value in rows]

    def signals(self) -> list[str]:
        """Names seen so far."""
        return [row["name"] for row in self._session.rows(select(signals.c.name).order_by(signals.c.name))]

    def add_event(self, event: PlantEvent) -> None:
        """Idempotent on event_id."""
        if self._session.first(_KNOWN_EVENT, {"id": event.event_id}) is not None:
            return
        row = {
            "seq": self._session.take("events"),
            "event_id": event.event_id,
            "kind": label(event.kind),
            "at_us": to_us(event.at),
            "subject": label(event.subject),
            "document": encode(event),
        }
        self._session.write(events.insert(), row)

    def events(self, start: datetime, end: datetime, *, kind: str | None = None) -> list[PlantEvent]:
        """Events in [start, end), oldest first."""
        query = (
            select(events.c.document)
            .where(events.c.at_us >= to_us(start), events.c.at_us < to_us(end))
            .order_by(events.c.at_us, events.c.seq)
        )
        if kind is not None:
            query = query.where(events.c.kind == label(kind))
        return [decode(PlantEvent, row["document"]) for row in self._session.rows(query)]

    def prune(self, before: datetime) -> int:
        """Delete older samples, a bounded batch: call again until it returns 0."""
        removed = 0
        for row in self._session.rows(select(signals.c.signal_id)):
            removed += self._drop_oldest(row["signal_id"], PRUNE_BATCH - removed, before_us=to_us(before))
        return removed

    def _append(self, signal: str, some: list[Sample]) -> None:
        signal_id, kept = self._signal(label(signal))
        self._session.write(
            self._session.insert_or_skip(samples),
            [{"signal_id": signal_id, "at_us": to_us(s.at), "value": _reading(s.value)} for s in some],
        )
        self._session.write(_KEPT, {"signal": signal_id, "number": kept + len(some)})
        if kept + len(some) > self._capacity:
            self._turn(signal_id)

    def _signal(self, name: str) -> tuple[int, int]:
        known = self._session.connection.execute(_SIGNAL, {"signal": name}).first()
        if known is not None:
            return int(known[0]), int(known[1])
        signal_id = self._session.take("signals")
        self._session.write(signals.insert(), {"signal_id": signal_id, "name": name, "kept": 0})
        return signal_id, 0

    def _turn(self, signal_id: int) -> None:
        """Drop what is beyond the capacity, and some more so that the next append need not."""
        number = self._session.first(select(func.count()).select_from(samples).where(samples.c.signal_id == signal_id))
        if number > self._capacity:
            number -= self._drop_oldest(signal_id, number - self._capacity + self._capacity // 100)
        self._session.write(_KEPT, {"signal": signal_id, "number": number})

    def _drop_oldest(self, signal_id: int, number: int, *, before_us: int | None = None) -> int:
        oldest = (
            select(samples.c.at_us)
            .where(samples.c.signal_id == signal_id)
            .order_by(samples.c.at_us)
            .limit(max(number, 0))
        )
        if before_us is not None:
            oldest = oldest.where(samples.c.at_us < before_us)
        doomed = samples.delete().where(samples.c.signal_id == signal_id, samples.c.at_us.in_(oldest))
        return self._session.write(doomed)


def _reading(value: float | None) -> float | None:
    """A NaN is a bad reading too, and SQLite knows no NaN."""
    return None if value is None or math.isnan(value) else float(value)
