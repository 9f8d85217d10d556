"""The box of `chaos`, as a process to be killed: facts with their messages at a rate, and the agent's own link.

What runs is the product's: store, outbox, relay, inbox, learner, under the product's supervisor. Only the facts are
made up: inspections with defects, analyses, orders and documents, each written with its message in one transaction.
"""

import json
import logging
import signal
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.link.inbox import InboxHandlers
from edge_agent.adapters.link.mqtt import MqttLink
from edge_agent.adapters.store.database import Database
from edge_agent.config.catalogue import load_catalogue
from edge_agent.config.plant import MqttSection
from edge_agent.contract import outbound, payloads, topics
from edge_agent.contract.envelope import Sender
from edge_agent.domain.analysis import Analysis, Hypothesis
from edge_agent.domain.defect import Defect, ModelRef
from edge_agent.domain.document import Document
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection, Quality
from edge_agent.domain.message import OutboundMessage
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.recipe import RecipeRef
from edge_agent.domain.work_order import Containment, OrderState, Suspect, WorkOrder
from edge_agent.learning.learner import Learner
from edge_agent.observability.health import Health
from edge_agent.ports import Clock, UnitOfWork
from edge_agent.runtime.supervisor import Supervisor
from edge_agent.workers import LINK_LAST, LinkWorker, Loop, row

CATALOGUE = Path(__file__).parents[2] / "plant_config" / "fmea" / "pcb.yaml"
PRODUCED = "chaos:produced"
CYCLE = ("defect", "defect", "rca", "defect", "order", "defect", "report", "update", "defect", "rca")
CLOCK = SystemClock()


class Facts:
    """Makes event number n and writes it with its message."""

    def __init__(self, store: Database, sender: Sender, *, total: int, per_s: float) -> None:
        self._store, self._sender, self._total, self._pause_s = store, sender, total, 1.0 / per_s
        with store.reader() as reader:
            self._done: int = reader.facts.get(PRODUCED) or 0

    def step(self) -> bool:
        """One event, one transaction; a restart goes on where the store says we were."""
        if self._done >= self._total:
            return False
        time.sleep(self._pause_s)
        kind = CYCLE[self._done % len(CYCLE)]
        with self._store.unit() as unit:
            unit.outbox.add(getattr(self, f"_{kind}")(unit))
            unit.facts.set(PRODUCED, self._done + 1)
            unit.commit()
        self._done += 1
        return True

    def _defect(self, unit: UnitOfWork) -> OutboundMessage:
        inspection = a_bad_inspection(CLOCK)
        unit.inspections.add(inspection)
        return outbound.defects(inspection, sender=self._sender, clock=CLOCK)[0]

    def _rca(self, unit: UnitOfWork) -> OutboundMessage:
        incident, analysis = _incident(), _analysis()
        incident = replace(incident, incident_id=analysis.incident_id)
        unit.incidents.save(incident)
        unit.analyses.save(analysis)
        return outbound.rca(analysis, incident, None, sender=self._sender, clock=CLOCK)

    def _order(self, unit: UnitOfWork) -> OutboundMessage:
        order = an_order(self._done, CLOCK)
        unit.orders.save(order)
        unit.facts.set("chaos:order", str(order.order_id))
        return outbound.work_order(order, None, "create", sender=self._sender, clock=CLOCK)

    def _update(self, unit: UnitOfWork) -> OutboundMessage:
        order = unit.orders.get(UUID(unit.facts.get("chaos:order")))
        assert order is not None
        newer = replace(order, revision=order.revision + 1, updated_at=CLOCK.now(), note="seen again")
        unit.orders.save(newer)
        return outbound.work_order(newer, None, "update", sender=self._sender, clock=CLOCK)

    def _report(self, unit: UnitOfWork) -> OutboundMessage:
        document = _document(self._done)
        unit.documents.add(document)
        return outbound.report(document, sender=self._sender, clock=CLOCK)


def a_bad_inspection(clock: Clock) -> Inspection:
    """NOT_OK, with one defect."""
    good = a_good_inspection(clock)
    defect = Defect(defect_id=clock.new_id(), code="open", score=0.9, xyxy_px=(1.0, 2.0, 30.0, 44.0))
    return replace(
        good,
        evaluation=Evaluation.NOT_OK,
        disposition=Disposition.REJECT,
        reasons=(Reason(code="defect.limit", text="1 open, none is tolerated"),),
        defects=(defect,),
        score=0.9,
    )


def a_good_inspection(clock: Clock) -> Inspection:
    """OK."""
    key, at = clock.new_id(), clock.now()
    shot = Shot(
        shot_id=key,
        station_id="aoi-1",
        part_id=f"P-{key.hex[-8:]}",
        product_id="board",
        trigger_id=f"T-{key.hex[-8:]}",
        triggered_at=at,
        triggered_ns=1,
    )
    return Inspection(
        inspection_id=key,
        shot=shot,
        evaluation=Evaluation.OK,
        disposition=Disposition.ACCEPT,
        reasons=(),
        defects=(),
        score=0.0,
        started_at=at,
        ended_at=at,
        recipe=RecipeRef(recipe_id="board", version=3, sha256="cd" * 32),
        model=ModelRef(name="board", version="1", sha256="ef" * 32),
        quality=Quality(usable=True, metrics={"match": 0.9876, "focus_ratio": 1.25, "light_ratio": 1.01}),
        timings_ms={"total": 12.4},
    )


def _incident() -> Incident:
    now = CLOCK.now()
    return Incident(
        incident_id=CLOCK.new_id(),
        revision=1,
        key="line/open",
        line_id="line",
        station_id="aoi-1",
        code="open",
        state=IncidentState.CLOSED,
        opened_at=now,
        updated_at=now,
        onset_from=now - timedelta(minutes=9),
        onset_to=now,
        class_counts={"open": 7},
        baseline_rate=0.005,
        rate=0.0,
        statistic=6.5,
        threshold=5.0,
        parts=90,
        defective_parts=7,
    )


def _analysis() -> Analysis:
    return Analysis(
        analysis_id=CLOCK.new_id(),
        incident_id=CLOCK.new_id(),
        revision=1,
        made_at=CLOCK.now(),
        evidence=(),
        hypotheses=(Hypothesis(cause_id="OTHER", name="not in the catalogue", p=1.0, rank=1, grade="possible"),),
        unknown_score=0.2,
        decision="check",
        narratives=(),
        engine={"method": "weighted-evidence"},
    )


def an_order(number: int, clock: Clock) -> WorkOrder:
    """Issued, revision 1."""
    now = clock.now()
    return WorkOrder(
        order_id=clock.new_id(),
        number=f"WO-{number:05d}",
        revision=1,
        key=f"line/etch/open/{number}",
        state=OrderState.ISSUED,
        incident_id=clock.new_id(),
        analysis_id=clock.new_id(),
        created_at=now,
        updated_at=now,
        due_at=now + timedelta(hours=4),
        priority=2,
        priority_reason="severity 7, occurrence 6, detection 3: high",
        line_id="line",
        station_id="aoi-1",
        equipment="etcher-1",
        problem="7 of 90 parts have opens.",
        text="Check the etchant temperature first.",
        suspects=(
            Suspect(cause_id="ETCH-1", name="etchant too hot", grade="likely", speaks_for=(), speaks_against=()),
        ),
        open_set=True,
        checks=(),
        containment=Containment(part_ids=("P-1",), lot_ids=(), since=now),
    )


def _document(number: int) -> Document:
    return Document(
        document_id=CLOCK.new_id(),
        kind="work-order",
        title=f"WO-{number:05d}",
        path=f"work-order/WO-{number:05d}.pdf",
        sha256="12" * 32,
        size_bytes=54_321,
        made_at=CLOCK.now(),
        subject_id=CLOCK.new_id(),
        revision=1,
    )


def link_of(settings: dict[str, Any], store: Database, sender: Sender) -> MqttLink:
    """The plant link with the handlers of the agent."""

    def state_body(online: bool) -> bytes:
        state = payloads.State(online=online, session_id=session, version="0", recipes=[])
        return outbound.state(state, sender=sender, clock=CLOCK)

    session = str(CLOCK.new_id())
    link = MqttLink(
        MqttSection(host=settings["host"], port=settings["port"], username="agent", receipt_retry_s=1.0),
        agent=sender.agent,
        topic_root=sender.topic_root,
        store=store,
        clock=CLOCK,
        state_body=state_body,
        password=settings["password"],
    )
    inbox = InboxHandlers(store, CLOCK, sender)
    link.subscribe(topics.under(sender.topic_root, topics.RESPONSES), inbox.on_response)
    link.subscribe(topics.under(sender.topic_root, topics.RECEIPT), inbox.on_receipt)
    link.subscribe(settings["mes_state"], inbox.on_mes_state)
    return link


def main() -> int:
    """Entry point: a settings file."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    store = Database(settings["url"], clock=CLOCK)
    store.migrate()
    sender = Sender(agent="box-1", topic_root=settings["root"], uri_base="http://box-1", software_version="0")
    link = link_of(settings, store, sender)
    facts = Facts(store, sender, total=settings["total"], per_s=settings["per_s"])
    learner = Learner(store=store, clock=CLOCK, catalogue=load_catalogue(CATALOGUE), sender=sender)
    supervisor = Supervisor(
        [
            row("facts", lambda: Loop(work=facts.step), silence_s=60),
            row("learn", lambda: Loop(work=learner.step, idle_s=0.05), silence_s=60),
            row("link", lambda: LinkWorker(link, Health(), CLOCK), silence_s=60, stop=LINK_LAST),
        ]
    )
    signal.signal(signal.SIGTERM, lambda *_: supervisor.request_stop())
    code = supervisor.run()
    store.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
