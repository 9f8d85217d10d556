"""Domain things as messages for the outbox. Pure but for the clock, which makes the ids and times.

Lanes and acknowledgements (docs/topics.md): work orders, defects, analyses and reports are done when the MES has
confirmed them (receipt); everything else when the broker has it (PUBACK).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from edge_agent.contract import payloads, topics
from edge_agent.contract.envelope import Sender, compact, data_schema, event_type, seal
from edge_agent.domain.analysis import Analysis, Hypothesis
from edge_agent.domain.cause import NONE, OTHER, Action, Check
from edge_agent.domain.counting import counted_defects
from edge_agent.domain.defect import Defect
from edge_agent.domain.document import Document
from edge_agent.domain.evidence import Evidence
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Evaluation, ImageRef, Inspection, Opinion
from edge_agent.domain.message import Ack, Lane, OutboundMessage
from edge_agent.domain.plant_codes import PlantCodes
from edge_agent.domain.verdict import JobResponse
from edge_agent.domain.work_order import Containment, Gathered, OrderState, Suspect, WorkOrder
from edge_agent.ports import Clock

Verb = Literal["create", "update", "cancel"]
AckStatus = Literal["applied", "ignored", "invalid"]
ReplyStatus = Literal["accepted", "done", "rejected", "failed", "expired"]

RESULT_EXPIRY = timedelta(days=7)
EXPIRY = timedelta(days=30)
"""What nothing else is said about, and what the broker keeps anything at most."""
KEPT = timedelta(days=90)
"""Orders and findings wait so long for a plant that is away."""
REPLY_EXPIRY = timedelta(days=1)
MAX_LISTED = 500
"""Unit and inspection ids at most in one message (a message must stay far below the broker's limit)."""
EXCERPT_CHARS = 1_024
"""At most 4 KiB in UTF-8."""

JOB_STATES: Mapping[OrderState, tuple[str, str]] = {
    OrderState.DRAFT: ("Waiting", "Forecast"),
    OrderState.ISSUED: ("Waiting", "Released"),
    OrderState.ACCEPTED: ("Ready", "Ready"),
    OrderState.STARTED: ("Running", "Running"),
    OrderState.HELD: ("Held", "Held"),
    OrderState.COMPLETED: ("Completed", "Completed"),
    OrderState.CLOSED: ("Closed", "Closed"),
    OrderState.ABORTED: ("Aborted", "Aborted"),
    OrderState.REJECTED: ("Other", "Cancelled"),
    OrderState.CANCELLED: ("Other", "Cancelled"),
}
"""Ours to ISA-95 (JobState, RequestState)."""

_VERB_EVENT: Mapping[Verb, str] = {"create": "created", "update": "updated", "cancel": "cancelled"}


def result(inspection: Inspection, *, sender: Sender, clock: Clock) -> OutboundMessage:
    """What was found on one part."""
    data = payloads.Result(
        inspection_id=inspection.inspection_id,
        station_id=inspection.shot.station_id,
        unit_id=inspection.shot.part_id,
        product_id=inspection.shot.product_id,
        lot_id=inspection.shot.lot_id,
        trigger_id=inspection.shot.trigger_id,
        evaluation=inspection.evaluation.value,
        disposition=inspection.disposition.value,
        reasons=[payloads.ReasonText(code=reason.code, text=reason.text) for reason in inspection.reasons],
        score=_share(inspection.score),
        recipe=_recipe(inspection),
        model=_model(inspection),
        measurements=_measurements(inspection),
        defects=[defect.defect_id for defect in inspection.defects[:MAX_LISTED]],
        defect_counts=dict(sorted(Counter(sender.codes.defect_class(one.code) for one in inspection.defects).items())),
        image_refs=_images(inspection.images, sender),
        started_at=inspection.started_at,
        ended_at=inspection.ended_at,
        challenge=inspection.shot.challenge or None,
    )
    name = "challenge.inspected" if inspection.shot.challenge else "inspection.completed"
    message_id, now, body = seal(data, sender=sender, clock=clock, name=name, subject=inspection.shot.part_id)
    return OutboundMessage(
        message_id=message_id,
        topic=topics.RESULT,
        body=body,
        lane=Lane.RESULTS,
        ack=Ack.PUBACK,
        created_at=now,
        expires_at=now + RESULT_EXPIRY,
        properties=_properties(name, data),
        expendable=inspection.evaluation is Evaluation.OK and not inspection.shot.challenge,
    )


def result_count(data: payloads.ResultCount, *, sender: Sender, clock: Clock) -> OutboundMessage:
    """Stands for single results of good parts."""
    message_id, now, body = seal(
        data, sender=sender, clock=clock, name="inspection.counted", subject=data.station_id or sender.agent
    )
    return OutboundMessage(
        message_id=message_id,
        topic=topics.RESULT_COUNT,
        body=body,
        lane=Lane.RESULTS,
        ack=Ack.PUBACK,
        created_at=now,
        expires_at=now + EXPIRY,
        properties=_properties("inspection.counted", data),
    )


def defects(
    inspection: Inspection, *, sender: Sender, clock: Clock, severity: Mapping[str, int] | None = None
) -> list[OutboundMessage]:
    """One quality event for each defect class on a part that is NOT_OK; none otherwise (the result says why).

    None for a challenge part either: its defects are wanted.

    Args:
        severity: defect class to FMEA severity 1 to 10; 5 where it is not listed.
    """
    if inspection.evaluation is not Evaluation.NOT_OK or inspection.shot.challenge:
        return []
    by_class: dict[str, list[Defect]] = {}
    for defect in counted_defects(inspection):
        by_class.setdefault(defect.code, []).append(defect)
    ratings = severity or {}
    return [
        _defect_event(inspection, code, found, ratings.get(code, 5), sender, clock)
        for code, found in sorted(by_class.items())
    ]


def _defect_event(
    inspection: Inspection, code: str, found: Sequence[Defect], severity: int, sender: Sender, clock: Clock
) -> OutboundMessage:
    surest = max(found, key=lambda defect: defect.score)
    shown = next((image for image in inspection.images if image.role == "overlay"), None) or next(
        iter(inspection.images), None
    )
    data = payloads.Defects(
        event_id=surest.defect_id,
        level=_level(severity),
        defect_class=sender.codes.defect_class(code),
        severity=severity,
        unit_id=inspection.shot.part_id,
        product_id=inspection.shot.product_id,
        lot_id=inspection.shot.lot_id,
        station_id=inspection.shot.station_id,
        inspection_id=inspection.inspection_id,
        count=len(found),
        confidence=_share(surest.score),
        bbox=[round(edge, 1) for edge in surest.xyxy_px],
        defect_ids=[defect.defect_id for defect in found[:MAX_LISTED]],
        first_seen=inspection.ended_at,
        image_ref=_image(shown, sender) if shown else None,
    )
    message_id, now, body = seal(data, sender=sender, clock=clock, name="defect.found", subject=inspection.shot.part_id)
    return OutboundMessage(
        message_id=message_id,
        topic=topics.DEFECT,
        body=body,
        lane=Lane.FINDINGS,
        ack=Ack.RECEIPT,
        created_at=now,
        expires_at=now + KEPT,
        properties=_properties("defect.found", data),
        expendable=data.image_ref is not None,
    )


def rca(
    analysis: Analysis, incident: Incident, order: WorkOrder | None, *, sender: Sender, clock: Clock
) -> OutboundMessage:
    """The ranked causes of an incident, with their evidence, or the abstention."""
    narrative = next((text for text in analysis.narratives if text.shown_as == "text"), None)
    data = payloads.Rca(
        rca_id=incident.incident_id,
        rev=analysis.revision,
        analysis_id=analysis.analysis_id,
        incident_code=incident.code,
        line_id=incident.line_id,
        station_id=incident.station_id,
        opened_at=incident.opened_at,
        parts=incident.parts,
        defective_parts=incident.defective_parts,
        inspection_ids=list(incident.inspection_ids[:MAX_LISTED]),
        decision=analysis.decision,
        unknown_score=_share(analysis.unknown_score),
        hypotheses=[_hypothesis(hypothesis, sender.codes) for hypothesis in analysis.hypotheses],
        evidence=[_evidence(fact) for fact in analysis.evidence],
        method=analysis.engine.get("method", "weighted-evidence"),
        model_version=dict(analysis.engine),
        narrative=narrative.text if narrative else None,
        narrative_source=narrative.source if narrative else None,
        recommended_action=_recommended(order),
        wo_id=order.order_id if order else None,
    )
    subject = str(incident.incident_id)
    message_id, now, body = seal(data, sender=sender, clock=clock, name="rca.made", subject=subject)
    return OutboundMessage(
        message_id=message_id,
        topic=topics.rca(incident.incident_id),
        body=body,
        lane=Lane.FINDINGS,
        ack=Ack.RECEIPT,
        created_at=now,
        order_key=f"rca:{subject}",
        expires_at=now + KEPT,
        correlation=subject,
        properties=_properties("rca.made", data, rev=str(analysis.revision)),
    )


def work_order(
    order: WorkOrder,
    analysis: Analysis | None,
    verb: Verb,
    *,
    sender: Sender,
    clock: Clock,
    causation: str = "",
) -> OutboundMessage:
    """The full document of an order, retained; every change sends all of it again with a higher ``rev``."""
    data = _job_order(order, analysis, verb, sender)
    name = f"workorder.{_VERB_EVENT[verb]}"
    subject = str(order.order_id)
    message_id, now, body = seal(data, sender=sender, clock=clock, name=name, subject=subject, causation=causation)
    return OutboundMessage(
        message_id=message_id,
        topic=topics.order(order.order_id),
        body=body,
        lane=Lane.ORDERS,
        ack=Ack.RECEIPT,
        created_at=now,
        retain=True,
        order_key=subject,
        expires_at=now + KEPT,
        correlation=subject,
        response_topic=topics.under(sender.topic_root, topics.response(order.order_id)),
        properties=_properties(name, data, verb=verb, rev=str(order.revision)),
    )


def _job_order(order: WorkOrder, analysis: Analysis | None, verb: Verb, sender: Sender) -> payloads.JobOrder:
    order = order.shown()
    job_state, dispatch_status = JOB_STATES[order.state]
    return payloads.JobOrder(
        job_order_id=order.order_id,
        number=order.number,
        rev=order.revision,
        verb=verb,
        work_type="Quality" if order.attributes.get("work_type") == "Quality" else "Maintenance",
        priority=order.priority,
        priority_reason=order.priority_reason,
        description=order.problem,
        text=order.text,
        text_source=order.text_source,
        note=order.note or None,
        start_time=order.created_at,
        end_time=order.due_at,
        equipment_requirement=[
            payloads.Equipment(id=sender.codes.asset(order.equipment or order.station_id), role="affected")
        ],
        parameters=_parameters(order, analysis),
        rca_id=order.incident_id,
        expected_cause=sender.codes.cause(order.suspects[0].cause_id) if order.suspects else None,
        open_set=order.open_set,
        suspects=[_suspect(suspect, sender.codes) for suspect in order.suspects],
        checks=[_check(check) for check in order.checks],
        containment=_containment(order.containment),
        image_refs=_images(order.images, sender),
        inspection_ids=list(order.inspection_ids[:MAX_LISTED]),
        recurrence_of=order.recurrence_of,
        gathered=[_gathered(one) for one in order.gathered] if order.collects else None,
        ranking_hidden=order.ranking_hidden,
        cause_choices=_choices(order, sender.codes) if order.ranking_hidden else None,
        gathered_total=int(order.attributes["collects"]) if order.collects else None,
        mes_order_id=order.mes_order_id or None,
        state=order.state.value,
        job_state=job_state,
        dispatch_status=dispatch_status,
    )


def work_order_cleared(order: WorkOrder, *, clock: Clock) -> OutboundMessage:
    """Takes the retained document of a closed order from the broker (the Clear of OPC 10031-4)."""
    return OutboundMessage(
        message_id=clock.new_id(),
        topic=topics.order(order.order_id),
        body=b"",
        lane=Lane.ORDERS,
        ack=Ack.PUBACK,
        created_at=clock.now(),
        retain=True,
        order_key=str(order.order_id),
        content_type="",
    )


def order_index(
    orders: Iterable[WorkOrder], seq: int, *, sender: Sender, clock: Clock, answered: frozenset[UUID] = frozenset()
) -> OutboundMessage:
    """All orders that are not done.

    Args:
        seq: a number that only grows; a MES keeps the largest it has seen.
        answered: orders for which a job response has come in.
    """
    data = payloads.OrderIndex(
        seq=seq,
        orders=[
            payloads.IndexEntry(
                job_order_id=order.order_id,
                rev=order.revision,
                state=order.state.value,
                has_response=order.order_id in answered,
            )
            for order in orders
        ],
    )
    message_id, now, body = seal(data, sender=sender, clock=clock, name="workorder.index", subject=sender.agent)
    return OutboundMessage(
        message_id=message_id,
        topic=topics.ORDER_INDEX,
        body=body,
        lane=Lane.ORDERS,
        ack=Ack.PUBACK,
        created_at=now,
        retain=True,
        order_key=topics.ORDER_INDEX,
        properties=_properties("workorder.index", data),
    )


def response_ack(
    response: JobResponse,
    status: AckStatus,
    *,
    sender: Sender,
    clock: Clock,
    learned_from: bool = False,
    detail: str = "",
) -> OutboundMessage:
    """Closes the loop: what became of an answer."""
    data = payloads.ResponseAck(
        response_id=response.response_id,
        job_order_id=response.order_id,
        status=status,
        learned_from=learned_from,
        detail=detail or None,
    )
    message_id, now, body = seal(
        data, sender=sender, clock=clock, name="response.acknowledged", subject=str(response.order_id)
    )
    return OutboundMessage(
        message_id=message_id,
        topic=topics.response_ack(response.order_id),
        body=body,
        lane=Lane.ORDERS,
        ack=Ack.PUBACK,
        created_at=now,
        expires_at=now + KEPT,
        correlation=response.response_id,
        properties=_properties("response.acknowledged", data),
    )


def report(
    document: Document,
    *,
    sender: Sender,
    clock: Clock,
    order_id: UUID | None = None,
    inspection_ids: Sequence[UUID] = (),
) -> OutboundMessage:
    """A document by reference: never the PDF itself (an over-limit packet would block everything behind it)."""
    period = None
    if document.period_from and document.period_to:
        period = payloads.Period(start=document.period_from, end=document.period_to)
    data = payloads.Report(
        report_id=document.document_id,
        kind=document.kind,
        title=document.title,
        rev=document.revision,
        period=period,
        size=document.size_bytes,
        sha256=document.sha256,
        uri=sender.uri(f"documents/{document.path}"),
        wo_id=order_id,
        inspection_ids=list(inspection_ids[:MAX_LISTED]),
    )
    subject = str(document.document_id)
    message_id, now, body = seal(data, sender=sender, clock=clock, name="report.made", subject=subject)
    return OutboundMessage(
        message_id=message_id,
        topic=topics.report(document.document_id),
        body=body,
        lane=Lane.FINDINGS,
        ack=Ack.RECEIPT,
        created_at=now,
        retain=True,
        order_key=f"report:{subject}",
        expires_at=now + KEPT,
        correlation=subject,
        properties=_properties("report.made", data),
    )


def reply(
    command_id: str,
    status: ReplyStatus,
    *,
    sender: Sender,
    clock: Clock,
    return_status: int | None = None,
    detail: str = "",
    result: Mapping[str, Any] | None = None,
) -> OutboundMessage:
    """The outcome of a command, on ``out/reply`` (a requester's own response topic is not followed)."""
    good = status in {"accepted", "done"}
    data = payloads.Reply(
        command_id=command_id,
        status=status,
        return_status=return_status if return_status is not None else (0b1 if good else 0b10000),
        detail=detail or None,
        result=dict(result) if result is not None else None,
    )
    message_id, now, body = seal(data, sender=sender, clock=clock, name="command.answered", subject=command_id)
    return OutboundMessage(
        message_id=message_id,
        topic=topics.REPLY,
        body=body,
        lane=Lane.ORDERS,
        ack=Ack.PUBACK,
        created_at=now,
        expires_at=now + REPLY_EXPIRY,
        correlation=command_id,
        properties=_properties("command.answered", data),
    )


def error(
    error_class: payloads.ErrorClass,
    *,
    topic: str,
    reason_code: str,
    detail: str,
    original: bytes,
    sender: Sender,
    clock: Clock,
) -> OutboundMessage:
    """Something that could not be read or sent, with its hash and its beginning."""
    data = payloads.Error(
        error_class=error_class,
        topic=topic,
        reason_code=reason_code,
        detail=detail,
        original_sha256=hashlib.sha256(original).hexdigest(),
        excerpt=original[:EXCERPT_CHARS].decode("utf-8", errors="replace"),
    )
    message_id, now, body = seal(data, sender=sender, clock=clock, name="error.raised", subject=topic)
    return OutboundMessage(
        message_id=message_id,
        topic=topics.ERROR,
        body=body,
        lane=Lane.FINDINGS,
        ack=Ack.PUBACK,
        created_at=now,
        expires_at=now + EXPIRY,
        properties=_properties("error.raised", data),
    )


def state(data: payloads.State, *, sender: Sender, clock: Clock) -> bytes:
    """The body of ``out/state``, for the birth, a change, and the will."""
    return seal(data, sender=sender, clock=clock, name="state.changed", subject=sender.agent)[2]


def metric(value: float, at: datetime) -> bytes:
    """The body of ``out/metric/{name}``: a number and its time, not in an envelope (historians expect it bare)."""
    data = payloads.Metric(value=value, timestamp_ms=int(at.timestamp() * 1000))
    return compact(data.to_json_object())


# --- parts ----------------------------------------------------------------------------------------------------------


def _properties(name: str, data: payloads.Payload, **more: str) -> dict[str, str]:
    return {"type": event_type(name), "dataschema": data_schema(type(data)), **more}


def _share(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 6)


def _level(severity: int) -> Literal["Event", "Alert", "Alarm"]:
    if severity >= 9:
        return "Alarm"
    return "Alert" if severity >= 7 else "Event"


def _recipe(inspection: Inspection) -> payloads.RecipeReference | None:
    ref = inspection.recipe
    return payloads.RecipeReference(id=ref.recipe_id, version=ref.version, sha256=ref.sha256) if ref else None


def _model(inspection: Inspection) -> payloads.ModelReference | None:
    ref = inspection.model
    return payloads.ModelReference(name=ref.name, version=ref.version, sha256=ref.sha256) if ref else None


def _measurements(inspection: Inspection) -> list[payloads.Measurement]:
    metrics = inspection.quality.metrics if inspection.quality else {}
    measured = [payloads.Measurement(id=name, value=round(value, 4)) for name, value in sorted(metrics.items())]
    measured += [_opinion(opinion) for opinion in inspection.opinions]
    return [*measured, payloads.Measurement(id="duration", value=round(inspection.duration_ms, 2), uom="ms")]


def _opinion(opinion: Opinion) -> payloads.Measurement:
    """What one judge said: its reading where it measures, else its score."""
    value = opinion.score if opinion.value is None else opinion.value
    return payloads.Measurement(
        id=f"judge.{opinion.judge}",
        value=round(value, 4),
        uom=opinion.unit or None,
        lower=opinion.low,
        upper=opinion.high,
        evaluation=opinion.evaluation.value,
    )


def _image(image: ImageRef, sender: Sender) -> payloads.ImageReference:
    return payloads.ImageReference(
        role=image.role, uri=sender.uri(f"images/{image.path}"), sha256=image.sha256, media_type=image.media_type
    )


def _images(images: Iterable[ImageRef], sender: Sender) -> list[payloads.ImageReference]:
    return [_image(image, sender) for image in images]


def _hypothesis(hypothesis: Hypothesis, codes: PlantCodes) -> payloads.HypothesisPayload:
    return payloads.HypothesisPayload(
        cause_code=codes.cause(hypothesis.cause_id),
        text=hypothesis.name,
        probability=_share(hypothesis.p),
        grade=hypothesis.grade,
        rank=hypothesis.rank,
        evidence=[
            payloads.Contribution(evidence_id=term.evidence_id, delta=round(term.delta, 4)) for term in hypothesis.terms
        ],
    )


def _evidence(fact: Evidence) -> payloads.EvidencePayload:
    return payloads.EvidencePayload(
        id=fact.evidence_id,
        statement=fact.statement,
        polarity=fact.polarity.value,
        tool=fact.tool,
        strength=_share(fact.strength),
    )


def _recommended(order: WorkOrder | None) -> str | None:
    actions = order.suspects[0].actions if order and order.suspects else ()
    return actions[0].text if actions else None


def _parameters(order: WorkOrder, analysis: Analysis | None) -> list[payloads.Parameter]:
    if order.ranking_hidden:  # the key names the first suspect's process step, the rest the ranking
        return [payloads.Parameter(id=name, value=getattr(order, f"{name}_id")) for name in ("line", "station")]
    found = {"line": order.line_id, "station": order.station_id, "key": order.key, **order.attributes}
    if analysis is not None:
        found["analysisRev"] = str(analysis.revision)
        found["decision"] = analysis.decision
        top = next((h for h in analysis.hypotheses if h.cause_id not in {NONE, OTHER}), None)
        if top is not None:
            found["expectedCauseProbability"] = f"{top.p:.3f}"
    return [payloads.Parameter(id=name, value=value) for name, value in found.items()]


def _choices(order: WorkOrder, codes: PlantCodes) -> list[payloads.CauseChoice]:
    return [payloads.CauseChoice(cause_code=codes.cause(cause_id), name=name) for cause_id, name in order.choices]


def _gathered(one: Gathered) -> payloads.GatheredPayload:
    return payloads.GatheredPayload(
        rca_id=one.incident_id,
        priority=one.priority,
        description=one.problem,
        station_id=one.station_id,
        opened_at=one.opened_at,
        suspect=one.suspect or None,
    )


def _suspect(suspect: Suspect, codes: PlantCodes) -> payloads.SuspectPayload:
    return payloads.SuspectPayload(
        cause_code=codes.cause(suspect.cause_id),
        name=suspect.name,
        grade=suspect.grade,
        speaks_for=list(suspect.speaks_for),
        speaks_against=list(suspect.speaks_against),
        actions=[_action(action, codes) for action in suspect.actions],
    )


def _action(action: Action, codes: PlantCodes) -> payloads.ActionPayload:
    return payloads.ActionPayload(
        id=codes.action(action.action_id),
        text=action.text,
        minutes=action.minutes,
        kind=action.kind,
        loto=action.loto,
        parts=[payloads.PartNeedPayload(material_id=need.part_number, qty=need.quantity) for need in action.parts],
    )


def _check(check: Check) -> payloads.CheckPayload:
    return payloads.CheckPayload(
        id=check.check_id,
        text=check.text,
        minutes=check.minutes,
        loto=check.loto,
        criterion=check.criterion or None,
    )


def _containment(containment: Containment) -> payloads.ContainmentPayload:
    return payloads.ContainmentPayload(
        unit_ids=list(containment.part_ids[:MAX_LISTED]),
        units_total=len(containment.part_ids),
        lot_ids=list(containment.lot_ids[:MAX_LISTED]),
        since=containment.since,
        until=containment.until,
    )
