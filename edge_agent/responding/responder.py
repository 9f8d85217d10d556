"""The responder: follows inspections through the store, and answers defects that come too often with a work order.

Each step takes the next inspections after its cursor. The charts, the cursor, and all that an alarm leads to (incident,
analysis, order, messages) are one transaction: after a power cut it goes on where it was, and nothing is done twice.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from edge_agent.contract import outbound
from edge_agent.contract.envelope import Sender
from edge_agent.contract.order_index import announce_index
from edge_agent.domain.analysis import Analysis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.faults import Transient
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inference import BACKGROUND
from edge_agent.domain.inspection import ImageRef
from edge_agent.domain.priority import PriorityTable
from edge_agent.domain.work_order import Containment, WorkOrder
from edge_agent.observability.health import Condition
from edge_agent.observability.metrics import DIAGNOSIS_FAILURES
from edge_agent.ports import Clock, Store, UnitOfWork
from edge_agent.responding.check_results import results_of, with_results, without_results
from edge_agent.responding.correlate import onset_at
from edge_agent.responding.order import (
    REVISABLE,
    Case,
    blinded,
    containment,
    is_blind,
    issue,
    joined_order,
    new_order,
    order_key,
    photos,
    revised_order,
    worth_revising,
)
from edge_agent.responding.order_limit import OrderLimit
from edge_agent.responding.priority import prioritise
from edge_agent.responding.settings import Settings
from edge_agent.responding.working_out import CURSOR, Finding, Step, WorkingOut

log = structlog.get_logger(__name__)

LOG_PRIORITY = 4
"""Priority 4 is logged: no order."""
TRIES = 2
"""So often the diagnosis may fail on the same inspections; then they are answered without evidence."""
REST = timedelta(minutes=5)
"""For so long it is then not asked again."""
TO_RANK = "responding:to-rank"
"""Fact: orders with check results that the ranking has not seen yet (written with the answer)."""
RELEASE_EVERY_NS = 10 * 10**9
"""So often it is looked whether an incident that waits may have its order."""

_LOGGED = {"open": "incident opened", "revise": "incident revised", "end": "incident closed"}
_SAID = {"open": "incident.opened", "revise": "incident.revised", "end": "incident.closed"}

WorkOut = Callable[[], Step | None]
"""The next step after the store's cursor. Raises Transient."""

Announce = Callable[[str, object], None]
"""Told after the commit: ``incident.opened|revised|closed``, ``analysis.made``, ``order.issued|revised``."""


OnCondition = Callable[[Condition, str], object]
"""Told when the diagnosis fails, and when it works again."""


def _silent(event: str, thing: object) -> None: ...


def _unheard(condition: Condition, detail: str) -> None: ...


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
        elsewhere: WorkOut | None = None,
        on_condition: OnCondition = _unheard,
    ) -> None:
        """Args: ``elsewhere`` works the next step out in another process (raises Transient); default: here."""
        self._store = store
        self._clock = clock
        self._catalogue = catalogue
        self._table = priority_table
        self._settings = settings
        self._sender = sender
        self._announce = announce
        self._elsewhere = elsewhere
        self._on_condition = on_condition
        self._limit = OrderLimit(settings=settings, sender=sender, clock=clock)
        self._failures = 0
        self._resting_until_ns = 0
        self._release_after_ns = 0

    def setup(self) -> None:
        """Nothing to open: everything is in the store."""

    def teardown(self) -> None:
        """Nothing to close."""

    def step(self) -> bool:
        """Chart the next inspections; stop after one that raised an alarm. True when there were any.

        Evidence is collected from a reading snapshot: the writer, which the line waits for, is held for the rows only.
        """
        step = self._worked_out()
        if step is None:
            return self._recheck() or self._release()
        said: list[tuple[str, object]] = []
        # Charts alone need not wait for the disk, which the line would wait for too: they come again with their parts.
        with self._store.unit(durable=bool(step.findings)) as uow:
            if int(uow.facts.get(CURSOR) or 0) != step.start:
                return True
            for station_id, record in step.charts.items():
                uow.facts.set(f"charts:{station_id}", record)
            uow.facts.set(CURSOR, step.cursor)
            if step.background is not None:
                uow.facts.set(BACKGROUND, step.background)
            for finding in step.findings:
                self._keep(uow, finding, said)
            uow.commit()
        for event, thing in said:
            self._announce(event, thing)
        return True

    # --- reading ----------------------------------------------------------------------------------------------------

    def _worked_out(self) -> Step | None:
        """Raises Transient: the diagnosis failed; nothing was written, the same inspections are tried again."""
        if self._elsewhere is None:
            return self._here(with_evidence=True)
        if not self._is_behind():
            return None
        if self._clock.monotonic_ns() < self._resting_until_ns:
            return self._here(with_evidence=False)
        try:
            step = self._elsewhere()
        except Transient as error:
            self._failed(error)
            return self._here(with_evidence=False)
        if self._failures:
            self._failures = 0
            self._on_condition(Condition.OK, "diagnosing again")
        return step

    def _here(self, *, with_evidence: bool) -> Step | None:
        with self._store.reader() as uow:
            return WorkingOut(
                uow,
                catalogue=self._catalogue,
                settings=self._settings,
                clock=self._clock,
                with_evidence=with_evidence,
            ).step()

    def _is_behind(self) -> bool:
        with self._store.reader() as uow:
            return bool(uow.inspections.after(int(uow.facts.get(CURSOR) or 0), 1))

    def _failed(self, error: Transient) -> None:
        """Raises it while there are tries left."""
        self._failures += 1
        DIAGNOSIS_FAILURES.inc()
        self._on_condition(Condition.DEGRADED, str(error))
        if self._failures < TRIES:
            raise error
        log.error("diagnosis without evidence", failures=self._failures, error=str(error), until_s=REST.total_seconds())
        self._resting_until_ns = self._clock.monotonic_ns() + int(REST.total_seconds() * 1e9)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _keep(self, uow: UnitOfWork, finding: Finding, said: list[tuple[str, object]]) -> None:
        incident = finding.incident
        known = uow.incidents.get(incident.incident_id)
        if known is not None and known.state is IncidentState.CLOSED:
            return  # closed by the technician since it was read; the next step sees that
        uow.incidents.save(incident)
        said.append((_SAID[finding.kind], incident))
        log.info(
            _LOGGED[finding.kind],
            incident=str(incident.incident_id),
            key=incident.key,
            rate=round(incident.rate, 4),
        )
        if finding.kind == "open":
            self._limit.count(uow, incident.opened_at)
        if finding.analysis is not None and finding.containment is not None:
            uow.analyses.save(finding.analysis)
            said.append(("analysis.made", finding.analysis))
            case = self._case(incident, finding.analysis, finding.containment, finding.photos)
            self._order(uow, case, said, at=incident.updated_at)

    def _case(
        self, incident: Incident, analysis: Analysis, containment: Containment, photos: tuple[ImageRef, ...]
    ) -> Case:
        first = analysis.first_suspect
        suspect = self._catalogue.cause(first.cause_id) if first else None
        return Case(
            incident=incident,
            analysis=analysis,
            priority=prioritise(incident, suspect, self._catalogue, self._table),
            catalogue=self._catalogue,
            containment=containment,
            photos=photos,
        )

    def _order(self, uow: UnitOfWork, case: Case, said: list[tuple[str, object]], *, at: datetime) -> None:
        """Revise the incident's own order; join one that already covers it; else make one when it is worth it."""
        own = uow.orders.for_incident(case.incident.incident_id)
        if own is not None and not own.collects:
            if worth_revising(own, case):
                self._reissue(uow, own, case, said)
        elif self._has_parent(uow, case):
            log.debug("incident belongs to another one's order", incident=str(case.incident.incident_id))
        elif case.analysis.decision == "watch" or case.priority.level >= LOG_PRIORITY:
            log.info("incident watched without an order", incident=str(case.incident.incident_id))
        elif related := self._same_key(uow, case) or self._same_suspect(uow, case):
            self._limit.release(uow, case)
            self._join(uow, related, case, said)
        elif self._limit.lets_pass(uow, case, at):
            self._limit.release(uow, case)
            self._issue_new(uow, case, said)
        else:
            said.extend(self._limit.gather(uow, case, at))

    def _has_parent(self, uow: UnitOfWork, case: Case) -> bool:
        parent = case.incident.parent_id
        order = uow.orders.for_incident(parent) if parent else None
        return order is not None and not order.is_terminal

    def _same_key(self, uow: UnitOfWork, case: Case) -> WorkOrder | None:
        same = uow.orders.with_key(order_key(case))
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

    def _join(self, uow: UnitOfWork, order: WorkOrder, case: Case, said: list[tuple[str, object]]) -> None:
        """One cause, one order: the incident becomes a child of the one that the order was made for."""
        child = replace(case.incident, parent_id=order.incident_id)
        uow.incidents.save(child)
        joined = joined_order(order, replace(case, incident=child), at=self._clock.now())
        uow.orders.save(joined)
        if not joined.ranking_hidden:
            uow.outbox.add(outbound.rca(case.analysis, child, joined, sender=self._sender, clock=self._clock))
        if joined.revision == order.revision:
            return
        parent = uow.analyses.latest(order.incident_id)
        uow.outbox.add(outbound.work_order(joined, parent, "update", sender=self._sender, clock=self._clock))
        announce_index(uow, sender=self._sender, clock=self._clock)
        said.append(("order.revised", joined))

    def _reissue(self, uow: UnitOfWork, standing: WorkOrder, case: Case, said: list[tuple[str, object]]) -> None:
        if standing.state not in REVISABLE:
            return
        order = revised_order(standing, case, at=self._clock.now())
        issue(uow, order, case, "update", sender=self._sender, clock=self._clock)
        said.append(("order.revised", order))

    def _issue_new(self, uow: UnitOfWork, case: Case, said: list[tuple[str, object]]) -> None:
        now, key = self._clock.now(), order_key(case)
        earlier = uow.orders.with_key(key, since=now - self._settings.recurrence_within)
        order = new_order(
            case,
            order_id=self._clock.new_id(),
            number=uow.orders.next_number(),
            at=now,
            recurrence_of=earlier.order_id if earlier else None,
            key=key,
        )
        if is_blind(order.order_id, self._settings.blind_share):
            order = blinded(order, case)
        issue(uow, order, case, "create", sender=self._sender, clock=self._clock)
        said.append(("order.issued", order))
        log.info("work order issued", order=order.number, priority=order.priority, key=key)

    # --- check results ----------------------------------------------------------------------------------------------

    def _recheck(self) -> bool:
        """Rank again, with what checks have found since; the order goes out with it. Was there any?"""
        with self._store.reader() as uow:
            waiting: list[str] = uow.facts.get(TO_RANK) or []
        if not waiting:
            return False
        said: list[tuple[str, object]] = []
        with self._store.unit(durable=True) as uow:
            waiting = uow.facts.get(TO_RANK) or []
            uow.facts.set(TO_RANK, [one for one in waiting if one != waiting[0]])
            order = uow.orders.get(UUID(waiting[0]))
            if order is not None and order.state in REVISABLE and not order.collects:
                self._rank_with_checks(uow, order, said)
            uow.commit()
        for event, thing in said:
            self._announce(event, thing)
        return True

    def _rank_with_checks(self, uow: UnitOfWork, order: WorkOrder, said: list[tuple[str, object]]) -> None:
        known, incident = uow.analyses.latest(order.incident_id), uow.incidents.get(order.incident_id)
        if known is None or incident is None:
            return
        results = results_of(uow, incident.incident_id)
        plain = without_results(known)
        found = with_results(plain, incident, results, self._catalogue, known.evidence)
        now = self._clock.now()
        analysis = replace(found, analysis_id=self._clock.new_id(), revision=known.revision + 1, made_at=now)
        uow.analyses.save(analysis)
        said.append(("analysis.made", analysis))
        self._reissue(uow, order, self._case(incident, analysis, order.containment, order.images), said)

    # --- more incidents than orders ---------------------------------------------------------------------------------

    def _release(self) -> bool:
        """Give the most urgent incident that waits its order, once there is room; keep the list true. Was there any?"""
        if self._clock.monotonic_ns() < self._release_after_ns:
            return False
        with self._store.reader() as uow:
            ended, waits = self._limit.next_in_line(uow)
            case = self._case_again(uow, waits) if waits else None
        if not ended and case is None:
            self._release_after_ns = self._clock.monotonic_ns() + RELEASE_EVERY_NS
            return False
        said: list[tuple[str, object]] = []
        with self._store.unit(durable=True) as uow:
            self._limit.forget(uow, *ended)
            if case is not None:
                self._order(uow, case, said, at=self._clock.now())
            said.extend(self._limit.refresh(uow))
            uow.commit()
        for event, thing in said:
            self._announce(event, thing)
        return True

    def _case_again(self, uow: UnitOfWork, incident: Incident) -> Case | None:
        analysis = uow.analyses.latest(incident.incident_id)
        if analysis is None:
            return None
        until = incident.updated_at + timedelta(microseconds=1)
        since = uow.inspections.between(onset_at(incident), until, station_id=incident.station_id)
        return self._case(incident, analysis, containment(incident, since), photos((), since))
