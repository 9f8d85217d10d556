"""The worker that watches whether the inspection itself drifts: it reads stored rows and looks at one image in some.

Beside the part's path, never in it: its thread is nice, it looks at an image only while no part waits, and what it
finds is told (stored fact, alarm, figure), never acted upon.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.domain.drift import Drift, fact
from edge_agent.domain.faults import ConfigError, PartFault
from edge_agent.domain.frame import Glimpse, Pixels
from edge_agent.learning.drifting import Change, DriftSettings, StationDrift
from edge_agent.observability import metrics
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Clock, Store, UnitOfWork
from edge_agent.runtime.niceness import be_nice

log = structlog.get_logger(__name__)

BATCH = 200
"""Inspections read at a time."""
SAVE_EVERY_NS = 10 * 10**9
REFILL = 4
"""After a start the last parts are gathered from this many times the window of rows."""


class _Glimpses(Protocol):
    """`edge_agent.runtime.sampler.Sampler` of glimpses."""

    def take(self) -> Glimpse | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedStation:
    """A station and where its images come from.

    Attributes:
        is_free: no part waits for its inspection.
    """

    station_id: str
    settings: DriftSettings
    glimpses: _Glimpses
    is_free: Callable[[], bool]


class _Station:
    """One station's watch and how far it has read."""

    def __init__(self, options: WatchedStation) -> None:
        self.options = options
        self.drift = StationDrift(options.settings)
        self.cursor: int | None = None
        self.saved_cursor: int | None = None
        self.next_save_ns = 0


class DriftWatch:
    """Watches all stations, a batch of each in turn.

    Args:
        features: what the feature network makes of an image; raises ConfigError where there is none.
    """

    def __init__(
        self,
        stations: Sequence[WatchedStation],
        *,
        store: Store,
        clock: Clock,
        sender: Sender,
        health: Health,
        features: Callable[[Pixels], Any],
    ) -> None:
        self._stations = [_Station(one) for one in stations]
        self._store, self._clock, self._sender, self._health = store, clock, sender, health
        self._features = features
        self._is_blind = ""

    def begin(self) -> None:
        """Go on from what is stored; a station that is new begins with its next part."""
        be_nice()
        with self._store.reader() as unit:
            for station in self._stations:
                self._restore(unit, station)

    def step(self) -> bool:
        """Read a batch, look at one image; whether there was anything. Raises Transient: the store is away."""
        worked = [self._follow(station) | self._look(station) for station in self._stations]
        return any(worked)

    def _restore(self, unit: UnitOfWork, station: _Station) -> None:
        record: Mapping[str, Any] = unit.facts.get(fact(station.options.station_id)) or {}
        station.drift.restore(record, unit.facts.get(reference_fact(station.options.station_id)))
        cursor = record.get("cursor")
        station.cursor = station.saved_cursor = int(cursor) if cursor is not None else unit.inspections.newest()
        back = REFILL * station.options.settings.window_parts
        rows = unit.inspections.after(max(0, station.cursor - back), back, station_id=station.options.station_id)
        station.drift.refill([one for sequence, one in rows if sequence <= station.cursor])
        self._tell(station)

    def _follow(self, station: _Station) -> bool:
        station_id = station.options.station_id
        with self._store.reader() as unit:
            rows = unit.inspections.after(station.cursor or 0, BATCH, station_id=station_id)
            in_trouble = bool(rows) and any(one.station_id == station_id for one in unit.incidents.open())
            wish = unit.facts.get(accept_fact(station_id))
        changes = station.drift.accept(self._clock.now()) if wish else []
        for sequence, inspection in rows:
            changes += station.drift.follow(inspection, in_trouble=in_trouble)
            station.cursor = sequence
        if changes or wish or self._is_due(station):
            self._save(station, changes, accepted=bool(wish))
        return bool(rows)

    def _look(self, station: _Station) -> bool:
        """One image, if there is one and no part waits for the processor."""
        if self._is_blind or not station.options.is_free():
            return False
        glimpse = station.options.glimpses.take()
        if glimpse is None:
            return False
        try:
            features = self._features(glimpse.pixels)
        except ConfigError as error:
            self._is_blind = str(error)
            log.warning("images are not looked at for drift", why=self._is_blind)
            return False
        except PartFault as error:
            log.warning("an image could not be looked at for drift", why=error.text)
            return False
        changes = station.drift.look(glimpse.product_id, features, glimpse.at)
        if changes:
            self._save(station, changes)
        return True

    def _is_due(self, station: _Station) -> bool:
        return station.cursor != station.saved_cursor and self._clock.monotonic_ns() >= station.next_save_ns

    def _save(self, station: _Station, changes: Sequence[Change], *, accepted: bool = False) -> None:
        station_id, drift = station.options.station_id, station.drift
        with self._store.unit(durable=bool(changes)) as unit:
            unit.facts.set(fact(station_id), drift.record() | {"cursor": station.cursor})
            if drift.reference_grew:
                unit.facts.set(reference_fact(station_id), drift.references())
            if accepted:
                unit.facts.set(accept_fact(station_id), None)
            for change in changes:
                self._announce(unit, station_id, change.drift)
            unit.commit()
        drift.reference_grew = False
        station.saved_cursor = station.cursor
        station.next_save_ns = self._clock.monotonic_ns() + SAVE_EVERY_NS
        self._tell(station)

    def _announce(self, unit: UnitOfWork, station_id: str, drift: Drift) -> None:
        """Raised: an event for the plant. Over: the audit log and the health board say so."""
        said = sentence(station_id, drift)
        subject = f"alarm:drift:{station_id}"
        if drift.until is not None:
            unit.audit.append(actor=self._sender.agent, action="alarm.ended", subject=subject, detail=said)
            log.info("drift is over", station=station_id, quantity=drift.quantity, product=drift.product_id)
            return
        unit.audit.append(actor=self._sender.agent, action="alarm.raised", subject=subject, detail=said)
        unit.outbox.add(
            outbound.error(
                "inspection",
                topic=self._sender.topic_root,
                reason_code="drift",
                detail=said,
                original=b"",
                sender=self._sender,
                clock=self._clock,
            )
        )
        log.warning("the inspection drifts", station=station_id, quantity=drift.quantity, product=drift.product_id)

    def _tell(self, station: _Station) -> None:
        """The health board and the gauges."""
        station_id, watched = station.options.station_id, station.drift.watched
        largest: dict[str, float] = {}
        for _, quantity, one in station.drift.comparisons():
            largest[quantity] = max(largest.get(quantity, 0.0), one.size)
        for quantity, size in largest.items():
            metrics.DRIFT_SIZE.labels(station_id, quantity).set(size)
        metrics.DRIFTING.labels(station_id).set(len(watched.lasting))
        told = "; ".join(_brief(one) for one in watched.lasting)
        detail = told or f"{len(watched.quantities)} figures are compared with their reference"
        condition = Condition.DEGRADED if told else Condition.OK
        self._health.report(f"drift:{station_id}", condition, detail + self._blindness(), at=self._clock.now())

    def _blindness(self) -> str:
        return f"; images are not looked at: {self._is_blind}" if self._is_blind else ""


def reference_fact(station_id: str) -> str:
    """Under which the references are stored: large, and written only while they grow."""
    return f"drift.reference:{station_id}"


def accept_fact(station_id: str) -> str:
    """Under which a person leaves word that what is now is the new reference."""
    return f"drift.accept:{station_id}"


def sentence(station_id: str, drift: Drift) -> str:
    """For alarms and the audit log."""
    if drift.until is not None:
        return f"{station_id}, {drift.product_id}: {drift.name} is back, or has a new reference"
    return (
        f"{station_id}, {drift.product_id}: {_brief(drift)}, over the last {drift.parts} looked at; "
        "look at lamp, lens, window and model. No limit was changed"
    )


def _brief(drift: Drift) -> str:
    if drift.quantity == "appearance":
        return f"{drift.name} has changed (distance {drift.now:.2f})"
    return f"{drift.name} has changed: {drift.usual:.4g} -> {drift.now:.4g} (index {drift.size:.2f})"
