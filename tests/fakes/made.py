"""Ready-made domain objects for tests: everything has a plausible value, and each can be set."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from edge_agent.domain.analysis import Analysis
from edge_agent.domain.defect import Defect, ModelRef
from edge_agent.domain.incident import Incident, IncidentState
from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.message import Ack, InboundMessage, Lane, OutboundMessage
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.domain.shadow import ShadowLook
from edge_agent.domain.verdict import ConfirmedCase, JobResponse, ResponseEvent
from edge_agent.domain.work_order import Containment, OrderState, WorkOrder
from edge_agent.ports import Clock


def an_inspection(
    clock: Clock,
    *,
    station_id: str = "aoi-1",
    codes: tuple[str, ...] = (),
    ended_at: datetime | None = None,
    evaluation: Evaluation | None = None,
) -> Inspection:
    """OK without ``codes``, else NOT_OK with a defect for each."""
    key, at = clock.new_id(), ended_at or clock.now()
    judged = evaluation or (Evaluation.NOT_OK if codes else Evaluation.OK)
    return Inspection(
        inspection_id=key,
        shot=a_shot(key, at, station_id),
        evaluation=judged,
        disposition=Disposition.ACCEPT if judged is Evaluation.OK else Disposition.HOLD,
        reasons=() if judged is Evaluation.OK else (Reason(code="defect.limit", text="too many"),),
        defects=tuple(
            Defect(defect_id=clock.new_id(), code=code, score=0.9, xyxy_px=(1.0, 2.0, 30.0, 4.5)) for code in codes
        ),
        score=0.9 if codes else 0.0,
        started_at=at,
        ended_at=at,
    )


def a_shot(key: UUID, at: datetime, station_id: str = "aoi-1") -> Shot:
    """A request to inspect."""
    return Shot(
        shot_id=key,
        station_id=station_id,
        part_id=f"P-{key.hex[-6:]}",
        product_id="layer-a",
        trigger_id=f"T-{key.hex[-6:]}",
        triggered_at=at,
        triggered_ns=1,
    )


LIVE = ModelRef(name="board", version="2", sha256="a" * 64)
SHADOW = ModelRef(name="board", version="3", sha256="b" * 64)


def a_shadow_look(
    clock: Clock, *, live: Evaluation = Evaluation.OK, shadow: Evaluation = Evaluation.OK, **fields: Any
) -> ShadowLook:
    """Of a part that took 40 ms, 20 of them in the live model."""
    plain: dict[str, Any] = {
        "inspection_id": clock.new_id(),
        "station_id": "aoi-1",
        "at": clock.now(),
        "live": LIVE,
        "live_evaluation": live,
        "live_ms": 40.0,
        "live_inference_ms": 20.0,
        "shadow": SHADOW,
        "evaluation": shadow,
        "score": 0.1,
        "inference_ms": 55.0,
        "processor_ms": 22.0,
    }
    return ShadowLook(**plain | fields)


def a_message(clock: Clock, **fields: Any) -> OutboundMessage:
    """A PUBACK-class result without an order key."""
    plain: dict[str, Any] = {
        "message_id": clock.new_id(),
        "topic": "out/result",
        "body": b'{"specversion":"1.0"}',
        "lane": Lane.RESULTS,
        "ack": Ack.PUBACK,
        "created_at": clock.now(),
    }
    return OutboundMessage(**plain | fields)


def an_inbound(clock: Clock, **fields: Any) -> InboundMessage:
    """A message of the MES."""
    plain: dict[str, Any] = {
        "source": "urn:mes",
        "message_id": str(clock.new_id()),
        "topic": "in/response",
        "body": b"{}",
        "received_at": clock.now(),
    }
    return InboundMessage(**plain | fields)


def an_incident(clock: Clock, **fields: Any) -> Incident:
    """An open one, revision 1."""
    now = clock.now()
    plain: dict[str, Any] = {
        "incident_id": clock.new_id(),
        "revision": 1,
        "key": "L1|open",
        "line_id": "L1",
        "station_id": "aoi-1",
        "code": "open",
        "state": IncidentState.OPEN,
        "opened_at": now,
        "updated_at": now,
        "onset_from": now - timedelta(minutes=9),
        "onset_to": now - timedelta(minutes=5),
        "class_counts": {"open": 7},
        "baseline_rate": 0.005,
        "rate": 0.08,
        "statistic": 6.5,
        "threshold": 5.0,
        "parts": 90,
        "defective_parts": 7,
    }
    return Incident(**plain | fields)


def an_analysis(clock: Clock, **fields: Any) -> Analysis:
    """An empty one, revision 1."""
    plain: dict[str, Any] = {
        "analysis_id": clock.new_id(),
        "incident_id": clock.new_id(),
        "revision": 1,
        "made_at": clock.now(),
        "evidence": (),
        "hypotheses": (),
        "unknown_score": 0.2,
        "decision": "check",
        "narratives": (),
    }
    return Analysis(**plain | fields)


def an_order(clock: Clock, **fields: Any) -> WorkOrder:
    """A draft, revision 1."""
    now = clock.now()
    plain: dict[str, Any] = {
        "order_id": clock.new_id(),
        "number": "WO-0001",
        "revision": 1,
        "key": "L1|etch|open",
        "state": OrderState.DRAFT,
        "incident_id": clock.new_id(),
        "analysis_id": clock.new_id(),
        "created_at": now,
        "updated_at": now,
        "due_at": now + timedelta(hours=4),
        "priority": 2,
        "priority_reason": "S7 O4 D3",
        "line_id": "L1",
        "station_id": "aoi-1",
        "equipment": "etcher",
        "problem": "7 of 90 parts have opens",
        "text": "Check the nozzles.",
        "suspects": (),
        "open_set": False,
        "checks": (),
        "containment": Containment(part_ids=("P-1",), lot_ids=(), since=now),
    }
    return WorkOrder(**plain | fields)


def a_response(clock: Clock, **fields: Any) -> JobResponse:
    """The MES has accepted."""
    plain: dict[str, Any] = {
        "response_id": str(clock.new_id()),
        "source": "urn:mes",
        "order_id": clock.new_id(),
        "revision": 1,
        "event": ResponseEvent.ACCEPTED,
        "received_at": clock.now(),
    }
    return JobResponse(**plain | fields)


def a_case(clock: Clock, **fields: Any) -> ConfirmedCase:
    """A clogged nozzle."""
    plain: dict[str, Any] = {
        "incident_id": clock.new_id(),
        "order_id": clock.new_id(),
        "cause_id": "A17",
        "code": "open",
        "line_id": "L1",
        "tokens": {"sp:repeat": 1},
        "weight": 1.0,
        "confirmed_at": clock.now(),
        "first_suspect": "A17",
    }
    return ConfirmedCase(**plain | fields)
