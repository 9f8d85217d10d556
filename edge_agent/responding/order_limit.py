"""More incidents than orders: what is above a shift's limit waits, gathered into one order, and is released by urgency.

People who get an order a minute read none. Nothing is lost: each incident is stored, diagnosed and shown; only its own
order waits. In a storm (many new incidents in a quarter of an hour) the same list takes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.contract.order_index import announce_index
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.shift import shift_of
from edge_agent.domain.work_order import Gathered, WorkOrder
from edge_agent.ports import Clock, UnitOfWork
from edge_agent.responding.charts import SEVERE
from edge_agent.responding.order import COLLECTS, REVISABLE, Case, both_contained, new_order
from edge_agent.responding.settings import Settings
from edge_agent.responding.text import problem

log = structlog.get_logger(__name__)

STORM, WAITING = "responding:storm", "responding:waiting"
MOST_WAITING = 1_000
MOST_LISTED = 100
NAMED = 3
"""How many of the list are named in the order's text."""
REFRESH = timedelta(minutes=15)
"""The list is told again after so long, should it have changed; sooner when it doubled or became more urgent."""
UNKNOWN_SHIFT = timedelta(hours=8)

Said = list[tuple[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the shift stands.

    Attributes:
        issued: orders of the shift, counted up to the limit.
        collecting: the open collecting order.
        storm: were there too many new incidents in a quarter of an hour?
    """

    issued: int
    limit: int
    collecting: WorkOrder | None
    storm: bool

    @property
    def room(self) -> bool:
        """May another order go out, with a place left for the collecting order?"""
        return not self.storm and self.issued + (self.collecting is None) < self.limit


class OrderLimit:
    """Who gets an order, who waits, and the order that says who waits. Works in the caller's transaction."""

    def __init__(self, *, settings: Settings, sender: Sender, clock: Clock) -> None:
        self._settings = settings
        self._sender = sender
        self._clock = clock

    def count(self, uow: UnitOfWork, at: datetime) -> None:
        """A new incident: does it storm?"""
        uow.facts.set(STORM, [*self._recent(uow, at), at.isoformat()])

    def lets_pass(self, uow: UnitOfWork, case: Case, at: datetime) -> bool:
        """May this incident have its order now? The most severe ones always may.

        Args:
            at: when it might storm; in line time where inspections are caught up with.
        """
        codes = (*case.incident.class_counts, case.incident.code)
        severe = any(case.catalogue.severity.get(code, 0) >= SEVERE for code in codes)
        return severe or self._standing(uow, at).room

    def gather(self, uow: UnitOfWork, case: Case, at: datetime) -> Said:
        """The incident waits for its order; the collecting order says so, when that says enough that is new."""
        now = self._standing(uow, at)
        others = [one for one in waiting(uow) if one.incident_id != case.incident.incident_id]
        keep_waiting(uow, [*others, line_of(case)])
        uow.outbox.add(outbound.rca(case.analysis, case.incident, None, sender=self._sender, clock=self._clock))
        log.info("incident waits for an order", incident=str(case.incident.incident_id), storm=now.storm)
        if now.collecting is not None:
            return self._relist(uow, now, case)
        return self._collect(uow, case, now) if now.issued < now.limit else []

    def forget(self, uow: UnitOfWork, *incident_ids: UUID) -> bool:
        """These wait no more. Did any of them?"""
        gathered = waiting(uow)
        kept = [one for one in gathered if one.incident_id not in incident_ids]
        if len(kept) < len(gathered):
            keep_waiting(uow, kept)
        return len(kept) < len(gathered)

    def release(self, uow: UnitOfWork, case: Case) -> None:
        """The incident gets its order; where it has waited for it, the audit log says so."""
        if self.forget(uow, case.incident.incident_id):
            subject = f"incident:{case.incident.incident_id}"
            self._audited(uow, "order.released", subject, f"priority {case.priority.level}: {problem(case.incident)}")

    def refresh(self, uow: UnitOfWork) -> Said:
        """The collecting order, should its list have changed enough."""
        return self._relist(uow, self._standing(uow, self._clock.now()), None)

    def next_in_line(self, uow: UnitOfWork) -> tuple[list[UUID], Incident | None]:
        """Those of the list that have ended by themselves, and the most urgent one that an order may now be made of:
        its own, or, where there is none, the one that collects. Looks only as far as it must."""
        now, at = self._standing(uow, self._clock.now()), self._clock.now()
        may = now.room or (now.collecting is None and now.issued < now.limit)
        stale = now.collecting is None or at - now.collecting.updated_at >= REFRESH
        ended: list[UUID] = []
        first: Incident | None = None
        for one in waiting(uow) if may or stale else ():
            incident = uow.incidents.get(one.incident_id)
            if incident is None or incident.state is not IncidentState.OPEN:
                ended.append(one.incident_id)
            elif first is None:
                first = incident
            if first is not None and not stale:
                break
        return ended, first if may else None

    def _standing(self, uow: UnitOfWork, storm_at: datetime) -> Standing:
        settings = self._settings
        newest = uow.orders.list(limit=settings.orders_per_shift)
        begun = self._shift_began(self._clock.now())
        last = uow.orders.with_key(collecting_key(settings.line_id))
        return Standing(
            issued=sum(order.created_at >= begun for order in newest),
            limit=settings.orders_per_shift,
            collecting=last if last is not None and last.state in REVISABLE else None,
            storm=len(self._recent(uow, storm_at)) > settings.storm_keys,
        )

    def _shift_began(self, now: datetime) -> datetime:
        settings = self._settings
        if not settings.shift_ends:
            return now - UNKNOWN_SHIFT
        return shift_of(now, settings.shift_ends, ZoneInfo(settings.timezone))[0]

    def _recent(self, uow: UnitOfWork, now: datetime) -> list[str]:
        """When the incidents of the storm's window were opened."""
        since = now - self._settings.storm_window
        return [text for text in (uow.facts.get(STORM) or []) if datetime.fromisoformat(text) > since]

    def _collect(self, uow: UnitOfWork, case: Case, now: Standing) -> Said:
        key, number = collecting_key(case.incident.line_id), uow.orders.next_number()
        order = new_order(case, order_id=self._clock.new_id(), number=number, at=self._clock.now(), key=key)
        order = listing(order, waiting(uow), now)
        self._audited(uow, "orders.limited", f"line:{order.line_id}", f"{order.number}: {order.problem}")
        self._tell(uow, order, "create")
        return [("order.issued", order)]

    def _relist(self, uow: UnitOfWork, now: Standing, case: Case | None) -> Said:
        known, gathered, at = now.collecting, waiting(uow), self._clock.now()
        if known is None or not worth_relisting(known, gathered, at):
            return []
        level = min([known.priority, *(one.priority for one in gathered)])
        order = replace(known, revision=known.revision + 1, updated_at=at, priority=level)
        if case is not None:
            held = both_contained(known.containment, case.containment)
            order = replace(order, containment=held, due_at=min(known.due_at, at + case.priority.due))
        order = listing(order, gathered, now)
        self._tell(uow, order, "update")
        return [("order.revised", order)]

    def _tell(self, uow: UnitOfWork, order: WorkOrder, verb: outbound.Verb) -> None:
        uow.orders.save(order)
        uow.outbox.add(outbound.work_order(order, None, verb, sender=self._sender, clock=self._clock))
        announce_index(uow, sender=self._sender, clock=self._clock)

    def _audited(self, uow: UnitOfWork, action: str, subject: str, detail: str) -> None:
        uow.audit.append(actor=self._sender.agent, action=action, subject=subject, detail=detail)


def collecting_key(line_id: str) -> str:
    """The key of a line's collecting order."""
    return f"{line_id}/collected"


# --- the list -------------------------------------------------------------------------------------------------------


def waiting(uow: UnitOfWork) -> list[Gathered]:
    """The incidents without an order of their own, most urgent first; among equals the oldest."""
    rows: list[dict[str, Any]] = uow.facts.get(WAITING) or []
    return [
        Gathered(
            incident_id=UUID(row["incident"]),
            priority=int(row["priority"]),
            problem=row["problem"],
            station_id=row["station"],
            opened_at=datetime.fromisoformat(row["opened"]),
            suspect=row["suspect"],
        )
        for row in rows
    ]


def keep_waiting(uow: UnitOfWork, gathered: Sequence[Gathered]) -> None:
    """Write the list down; beyond its bound the least urgent are no longer listed (their incidents stay stored)."""
    ranked = sorted(gathered, key=lambda one: (one.priority, one.opened_at))
    rows = [
        {
            "incident": str(one.incident_id),
            "priority": one.priority,
            "problem": one.problem,
            "station": one.station_id,
            "opened": one.opened_at.isoformat(),
            "suspect": one.suspect,
        }
        for one in ranked[:MOST_WAITING]
    ]
    uow.facts.set(WAITING, rows)


def line_of(case: Case) -> Gathered:
    """A case as the list shows it."""
    first, incident = case.analysis.first_suspect, case.incident
    return Gathered(
        incident_id=incident.incident_id,
        priority=case.priority.level,
        problem=problem(incident),
        station_id=incident.station_id,
        opened_at=incident.opened_at.astimezone(UTC),
        suspect=f"{first.name} ({first.grade})" if first else "",
    )


def worth_relisting(order: WorkOrder, gathered: Sequence[Gathered], at: datetime) -> bool:
    """Did the list double, become more urgent, empty, or change a while ago?"""
    told = int(order.attributes.get(COLLECTS, "0"))
    if len(gathered) >= 2 * max(told, 1) or (told and not gathered):
        return True
    if any(one.priority < order.priority for one in gathered):
        return True
    listed = {one.incident_id for one in order.gathered}
    changed = len(gathered) != told or {one.incident_id for one in gathered[:MOST_LISTED]} != listed
    return changed and at - order.updated_at >= REFRESH


def listing(order: WorkOrder, gathered: Sequence[Gathered], now: Standing) -> WorkOrder:
    """The order with its list as it is now: no suspects and no checks of its own."""
    waits = "1 incident waits" if len(gathered) == 1 else f"{len(gathered)} incidents wait"
    reason = "too many new ones at once" if now.storm else f"the limit is {now.limit} orders a shift"
    sentence = f"{waits} on {order.line_id}: {reason}" if gathered else "Nothing waits any more: close this order"
    named = "; ".join(f"P{one.priority} {one.problem}" for one in gathered[:NAMED])
    return replace(
        order,
        problem=sentence,
        text=f"{sentence}." + (f" Most urgent: {named}." if named else ""),
        equipment="",
        suspects=(),
        checks=(),
        images=(),
        inspection_ids=(),
        open_set=True,
        gathered=tuple(gathered[:MOST_LISTED]),
        attributes={**order.attributes, COLLECTS: str(len(gathered))},
    )
