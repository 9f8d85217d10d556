"""The responder: follows inspections through the store, and answers defects that come too often with a work order.

Each step takes the next inspections after its cursor. The charts, the cursor, and all that an alarm leads to (incident,
analysis, order, messages) are one transaction: after a power cut it goes on where it was, and nothing is done twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog

from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.contract.order_index import announce_index
from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.priority import PriorityTable
from edge_agent.domain.work_order import WorkOrder
from edge_agent.ports import Clock, Store, UnitOfWork
from edge_agent.responding.analyse import analyse, gather, knowledge
from edge_agent.responding.background import sample_background
from edge_agent.responding.charts import Alarm, StationCharts, as_record, load_charts
from edge_agent.responding.correlate import close_incident, history, open_incident, revise_incident
from edge_agent.responding.evidence.window import Window
from edge_agent.responding.order import (
    REVISABLE,
    Case,
    issue,
    joined_order,
    new_order,
    order_key,
    revised_order,
    worth_revising,
)
from edge_agent.responding.priority import prioritise
from edge_agent.responding.settings import Settings

log = structlog.get_logger(__name__)

CURSOR = "responding:cursor"
STORM = "responding:storm"
BATCH = 50
LOG_PRIORITY = 4
"""Priority 4 is logged: no order."""

Announce = Callable[[str, object], None]
"""Told after the commit: ``incident.opened|revised|closed``, ``analysis.made``, ``order.issued|revised``."""


def _silent(event: str, thing: object) -> None: ...


@dataclass(slots=True)
class _Step:
    """What one step has under way."""

    uow: UnitOfWork
    charts: dict[str, StationCharts] = field(default_factory=dict)
    said: list[tuple[str, object]] = field(default_factory=list)


class Responder:
    """Implements ``ports.Worker``."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        catalogue: Catalogue,
        priority_table: PriorityTable,
        settings: Settings,
        sender: Sender,
        announce: Announce = _silent,
    ) -> None:
        self._store = store
        self._clock = clock
        self._catalogue = catalogue
        self._table = priority_table
        self._settings = settings
        self._sender = sender
        self._announce = announce

    def setup(self) -> None:
        """Nothing to open: everything is in the store."""

    def teardown(self) -> None:
        """Nothing to close."""

    def step(self) -> bool:
        """Chart the next inspections; stop after one that raised an alarm. True when there were any."""
        with self._store.reader() as uow:
            cursor = int(uow.facts.get(CURSOR) or 0)
            rows = uow.inspections.after(cursor, BATCH)
        if not rows:
            return False
        with self._store.unit(durable=True) as uow:
            step = _Step(uow)
            for sequence, inspection in rows:
                cursor = sequence
                charts = self._charts(step, inspection.shot.station_id)
                alarms = charts.follow(inspection)
                for alarm in alarms:
                    self._respond(step, alarm, charts, inspection)
                if not alarms and self._settings.measure_background:
                    sample_background(uow, charts, self._settings, inspection)
                if step.said:
                    break
            for station_id, charts in step.charts.items():
                uow.facts.set(f"charts:{station_id}", as_record(charts))
            uow.facts.set(CURSOR, cursor)
            uow.commit()
        for event, thing in step.said:
            self._announce(event, thing)
        return True

    def _charts(self, step: _Step, station_id: str) -> StationCharts:
        """The station's charts, with incidents taken out that were closed elsewhere (the technician is done)."""
        if station_id not in step.charts:
            charts = load_charts(
                step.uow.facts.get(f"charts:{station_id}"),
                station_id=station_id,
                settings=self._settings,
                catalogue=self._catalogue,
            )
            for family, episode in list(charts.episodes.items()):
                incident = step.uow.incidents.get(UUID(episode.incident_id))
                if incident is None or incident.state is IncidentState.CLOSED:
                    charts.ended(family, incident.updated_at if incident else self._clock.now())
            step.charts[station_id] = charts
        return step.charts[station_id]

    def _respond(self, step: _Step, alarm: Alarm, charts: StationCharts, inspection: Inspection) -> None:
        match alarm.kind:
            case "open":
                self._open(step, alarm, charts, inspection)
            case "revise":
                self._revise(step, alarm, charts, inspection)
            case _:
                self._end(step, alarm, charts, inspection.ended_at)

    def _open(self, step: _Step, alarm: Alarm, charts: StationCharts, inspection: Inspection) -> None:
        parts = history(step.uow, charts, inspection.ended_at)
        incident = open_incident(parts, charts, alarm.family, alarm.code, clock=self._clock)
        step.uow.incidents.save(incident)
        charts.opened(alarm.family, incident.incident_id, incident.defective_parts, inspection.ended_at)
        self._count_for_storm(step.uow, inspection.ended_at)
        step.said.append(("incident.opened", incident))
        log.info("incident opened", incident=str(incident.incident_id), key=incident.key, rate=round(incident.rate, 4))
        self._diagnose(step, incident, parts, charts)

    def _revise(self, step: _Step, alarm: Alarm, charts: StationCharts, inspection: Inspection) -> None:
        known = step.uow.incidents.get(alarm.incident_id) if alarm.incident_id else None
        if known is None:
            return
        parts = history(step.uow, charts, inspection.ended_at, incident=known)
        incident = revise_incident(known, parts, charts)
        step.uow.incidents.save(incident)
        charts.revised(alarm.family, incident.defective_parts, inspection.ended_at)
        step.said.append(("incident.revised", incident))
        self._diagnose(step, incident, parts, charts)

    def _end(self, step: _Step, alarm: Alarm, charts: StationCharts, at: datetime) -> None:
        known = step.uow.incidents.get(alarm.incident_id) if alarm.incident_id else None
        charts.ended(alarm.family, at)
        if known is not None and known.state is IncidentState.OPEN:
            closed = close_incident(known, at, "the rate is back to normal")
            step.uow.incidents.save(closed)
            step.said.append(("incident.closed", closed))
            log.info("incident closed", incident=str(closed.incident_id), key=closed.key)

    def _diagnose(self, step: _Step, incident: Incident, parts: list[Inspection], charts: StationCharts) -> None:
        uow = step.uow
        window = gather(uow, incident, parts, charts, self._settings)
        known = knowledge(uow, self._catalogue)
        analysis = analyse(window, known, uow.analyses.latest(incident.incident_id), clock=self._clock)
        uow.analyses.save(analysis)
        step.said.append(("analysis.made", analysis))
        self._order(step, self._case(incident, analysis, window))

    def _case(self, incident: Incident, analysis: Analysis, window: Window) -> Case:
        first = analysis.first_suspect
        suspect = self._catalogue.cause(first.cause_id) if first else None
        return Case(
            incident=incident,
            analysis=analysis,
            priority=prioritise(incident, suspect, self._catalogue, self._table),
            catalogue=self._catalogue,
            since=window.after,
            before=window.before[-20:],
        )

    def _order(self, step: _Step, case: Case) -> None:
        """Revise the incident's own order; join one that already covers it; else make one when it is worth it."""
        own = step.uow.orders.for_incident(case.incident.incident_id)
        if own is not None:
            if worth_revising(own, case):
                self._reissue(step, own, case)
        elif self._has_parent(step.uow, case):
            log.debug("incident belongs to another one's order", incident=str(case.incident.incident_id))
        elif case.analysis.decision == "watch" or case.priority.level >= LOG_PRIORITY:
            log.info("incident watched without an order", incident=str(case.incident.incident_id))
        elif related := self._same_key(step.uow, case) or self._same_suspect(step.uow, case):
            self._join(step, related, case)
        else:
            self._issue_new(step, case)

    def _has_parent(self, uow: UnitOfWork, case: Case) -> bool:
        parent = case.incident.parent_id
        order = uow.orders.for_incident(parent) if parent else None
        return order is not None and not order.is_terminal

    def _same_key(self, uow: UnitOfWork, case: Case) -> WorkOrder | None:
        same = uow.orders.with_key(self._key(uow, case))
        return same if same is not None and same.state in REVISABLE else None

    def _same_suspect(self, uow: UnitOfWork, case: Case) -> WorkOrder | None:
        """An open order of this station that suspects the same cause of an incident that is still going on."""
        first = case.analysis.first_suspect
        for order in uow.orders.list(open_only=True):
            if first is None or order.station_id != case.incident.station_id or order.state not in REVISABLE:
                continue
            if order.suspects and order.suspects[0].cause_id == first.cause_id:
                incident = uow.incidents.get(order.incident_id)
                if incident is not None and incident.state is IncidentState.OPEN:
                    return order
        return None

    def _join(self, step: _Step, order: WorkOrder, case: Case) -> None:
        """One cause, one order: the incident becomes a child of the one that the order was made for."""
        child = replace(case.incident, parent_id=order.incident_id)
        step.uow.incidents.save(child)
        joined = joined_order(order, replace(case, incident=child), at=self._clock.now())
        parent = step.uow.analyses.latest(order.incident_id)
        step.uow.orders.save(joined)
        step.uow.outbox.add(outbound.work_order(joined, parent, "update", sender=self._sender, clock=self._clock))
        step.uow.outbox.add(outbound.rca(case.analysis, child, joined, sender=self._sender, clock=self._clock))
        announce_index(step.uow, sender=self._sender, clock=self._clock)
        step.said.append(("order.revised", joined))

    def _reissue(self, step: _Step, standing: WorkOrder, case: Case) -> None:
        if standing.state not in REVISABLE:
            return
        order = revised_order(standing, case, at=self._clock.now())
        issue(step.uow, order, case, "update", sender=self._sender, clock=self._clock)
        step.said.append(("order.revised", order))

    def _issue_new(self, step: _Step, case: Case) -> None:
        now = self._clock.now()
        key = self._key(step.uow, case)
        earlier = step.uow.orders.with_key(key, since=now - self._settings.recurrence_within)
        order = new_order(
            case,
            order_id=self._clock.new_id(),
            number=step.uow.orders.next_number(),
            at=now,
            recurrence_of=earlier.order_id if earlier else None,
            key=key,
        )
        issue(step.uow, order, case, "create", sender=self._sender, clock=self._clock)
        step.said.append(("order.issued", order))
        log.info("work order issued", order=order.number, priority=order.priority, key=key)

    def _key(self, uow: UnitOfWork, case: Case) -> str:
        """The order's key; in a storm all new incidents of the line share one."""
        if len(uow.facts.get(STORM) or []) > self._settings.storm_keys:
            return f"{case.incident.line_id}/storm"
        return order_key(case)

    def _count_for_storm(self, uow: UnitOfWork, at: datetime) -> None:
        since = at - self._settings.storm_window
        recent = [text for text in (uow.facts.get(STORM) or []) if datetime.fromisoformat(text) > since]
        uow.facts.set(STORM, [*recent, at.isoformat()])
