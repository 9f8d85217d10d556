"""What the plant sends, read with suspicion: bytes in, domain things out, or `InvalidMessage` with the reason.

A message may come as a CloudEvent in structured JSON, as one in binary mode (its attributes as MQTT user
properties), or as the bare payload (`mosquitto_pub` by a person): then the source is ``urn:plant:bare`` and the
payload's own id identifies it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from edge_agent.contract import payloads, topics
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.plant_codes import PlantCodes
from edge_agent.domain.verdict import ActualCause, CheckResult, JobResponse, ResponseEvent

MAX_BYTES = 256 * 1024
MAX_DEPTH = 24
MAX_ID = 128
BARE_SOURCE = "urn:plant:bare"
CLOCKS_DIFFER = timedelta(minutes=5)
"""A sender's clock may run ahead by so much."""

_EVENTS = tuple(event.value for event in ResponseEvent)

P = TypeVar("P", bound=payloads.Payload)


class InvalidMessage(Exception):
    """A message that cannot be used.

    Attributes:
        reason: ``oversize``, ``not-json``, ``too-deep``, ``not-an-object``, ``envelope``, ``schema``,
            ``wrong-topic``, ``unknown-value``, ``future-dated`` or ``expired``.
        keep: store it nevertheless (it comes from a newer plant, and a later version may read it).
        error_class: the class of the event on ``out/error``.
    """

    error_class: payloads.ErrorClass = "inbound-invalid"

    def __init__(self, reason: str, detail: str, *, keep: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.keep = keep


class TooLate(InvalidMessage):
    """A message that was good once."""

    error_class = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An opened envelope. (source, event_id) identifies it; both are empty for a bare payload."""

    source: str
    event_id: str
    type: str
    time: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipts:
    """Events of ours that the MES has, or refuses."""

    message_ids: tuple[UUID, ...]
    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """A command from the plant. ``verb`` is from the topic."""

    command_id: str
    verb: str
    args: Mapping[str, Any]
    not_after: datetime | None
    requested_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRequest:
    """A part is in place, says the plant. Becomes a Shot at the trigger source."""

    trigger_id: str
    part_id: str
    product_id: str
    station_id: str | None
    lot_id: str | None
    sequence: int | None
    image_path: str | None
    strata: Mapping[str, str]


def open_event(body: bytes, properties: Mapping[str, str]) -> Event:
    """Open the envelope of a message.

    Raises:
        InvalidMessage: too large, not JSON, too deep, no object, or an envelope without its required attributes.
    """
    if len(body) > MAX_BYTES:
        raise InvalidMessage("oversize", f"at most {MAX_BYTES} bytes are read, this has {len(body)}")
    content = _json_object(body)
    if "specversion" in content:
        return _structured(content)
    if "specversion" in properties or ("id" in properties and "source" in properties):
        return Event(
            source=_attribute(properties, "source"),
            event_id=_attribute(properties, "id"),
            type=str(properties.get("type", "")),
            time=str(properties.get("time", "")),
            data=content,
        )
    return Event(source="", event_id="", type="", data=content)


def identified(message: InboundMessage) -> InboundMessage:
    """The message with the identity its envelope gives it; a bare payload is identified by its content.

    Raises:
        InvalidMessage: see `open_event`.
    """
    event = open_event(message.body, message.properties)
    own_id = event.data.get("responseId") or event.data.get("commandId")
    return InboundMessage(
        source=event.source or BARE_SOURCE,
        message_id=event.event_id or (str(own_id)[:128] if own_id else sha256(message.body).hexdigest()),
        topic=message.topic,
        body=message.body,
        received_at=message.received_at,
        properties=message.properties,
    )


def job_response(message: InboundMessage, codes: PlantCodes | None = None) -> JobResponse:
    """Read a job response.

    Args:
        codes: what the plant calls causes and actions; they become ours.

    Raises:
        InvalidMessage: with ``keep`` set where only the event's word is unknown.
    """
    event = open_event(message.body, message.properties)
    data = _payload(payloads.JobResponsePayload, event)
    in_topic = topics.answered_order(message.topic)
    if in_topic != str(data.job_order_id):
        raise InvalidMessage("wrong-topic", f"jobOrderId is {data.job_order_id}, but the topic says {in_topic!r}")
    if data.event not in _EVENTS:
        raise InvalidMessage("unknown-value", f"event {data.event!r} is none of {', '.join(_EVENTS)}", keep=True)
    return JobResponse(
        response_id=data.response_id,
        source=event.source or BARE_SOURCE,
        order_id=data.job_order_id,
        revision=data.rev,
        event=ResponseEvent(data.event),
        received_at=message.received_at,
        mes_order_id=data.mes_order_id,
        reason=data.reason,
        actual=_actual(data.actual, codes or PlantCodes()) if data.actual else None,
        checks=tuple(CheckResult(check_id=one.check_id, found=one.found, value=one.value) for one in data.checks),
        suspicion=(codes or PlantCodes()).own_cause(data.suspicion) if data.suspicion else "",
    )


def receipts(message: InboundMessage) -> Receipts:
    """Read a batch of receipts.

    Raises:
        InvalidMessage: see `open_event`; or the payload breaks its schema.
    """
    data = _payload(payloads.Receipt, open_event(message.body, message.properties))
    return Receipts(message_ids=tuple(data.ids), status=data.status, reason=data.reason)


def mes_online(message: InboundMessage) -> bool:
    """Is the MES there? An empty message (a cleared retained state) means no.

    Raises:
        InvalidMessage: see `open_event`; or the payload breaks its schema.
    """
    if not message.body:
        return False
    return _payload(payloads.MesState, open_event(message.body, message.properties)).online


def command(message: InboundMessage) -> CommandRequest:
    """Read a command.

    Raises:
        InvalidMessage: also when its ``notAfter`` has passed, or it was retained by mistake.
    """
    data = any_command(message)
    late = too_late(data, message)
    if late:
        raise TooLate("expired", late)
    return data


def any_command(message: InboundMessage) -> CommandRequest:
    """Read a command, whatever its age; see `too_late`.

    Raises:
        InvalidMessage: see `open_event`; or the payload breaks its schema.
    """
    data = _payload(payloads.Command, open_event(message.body, message.properties))
    return CommandRequest(
        command_id=data.command_id,
        verb=topics.verb_of(message.topic),
        args=data.args,
        not_after=data.not_after,
        requested_by=data.requested_by,
    )


def too_late(request: CommandRequest, message: InboundMessage) -> str:
    """Why it must not be done any more; empty when it may."""
    if message.properties.get("mqtt.retain") == "1":
        return "a command must not be retained"
    if request.not_after is not None and request.not_after < message.received_at:
        return f"not after {payloads.stamp(request.not_after)}"
    return ""


def future_dated(message: InboundMessage) -> InvalidMessage | None:
    """A complaint about a sender whose clock is ahead of ours; what he says may be right all the same.

    Raises:
        InvalidMessage: see `open_event`.
    """
    event = open_event(message.body, message.properties)
    actual = event.data.get("actual")
    said = [event.time, *(actual.get(name) for name in ("startTime", "endTime") if isinstance(actual, dict))]
    ahead = [text for text in said if isinstance(text, str) and _ahead(text, message.received_at)]
    if not ahead:
        return None
    clock = payloads.stamp(message.received_at)
    return InvalidMessage("future-dated", f"dated {ahead[0][:40]}, here it is {clock}: check both clocks")


def _ahead(text: str, now: datetime) -> bool:
    try:
        return datetime.fromisoformat(text) > now + CLOCKS_DIFFER
    except (ValueError, TypeError, OverflowError):
        return False  # no time, or one without an offset: the schema says what is allowed


def command_id(message: InboundMessage) -> str:
    """The id of a command that cannot be read otherwise, so that it can be answered; empty when it has none."""
    try:
        found = open_event(message.body, message.properties).data.get("commandId")
    except InvalidMessage:
        return ""
    return found if isinstance(found, str) and len(found) <= MAX_ID else ""


def station_args(request: CommandRequest) -> payloads.StationArgs:
    """The arguments of ``pause`` and ``resume``.

    Raises:
        InvalidMessage: they break their schema.
    """
    return _validated(payloads.StationArgs, request.args)


def args(model: type[P], request: CommandRequest) -> P:
    """The arguments of a command.

    Raises:
        InvalidMessage: they break their schema.
    """
    return _validated(model, request.args)


def trigger(message: InboundMessage) -> TriggerRequest:
    """Read ``in/cmd/trigger``.

    Raises:
        InvalidMessage: see `command`; or the arguments break the trigger's schema.
    """
    asked = command(message)
    data = _validated(payloads.Trigger, asked.args)
    return TriggerRequest(
        trigger_id=data.trigger_id or asked.command_id,
        part_id=data.part_id,
        product_id=data.product_id,
        station_id=data.station_id,
        lot_id=data.lot_id,
        sequence=data.sequence,
        image_path=data.image_path,
        strata=data.strata,
    )


# --- parts ----------------------------------------------------------------------------------------------------------


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise InvalidMessage("too-deep", f"at most {MAX_DEPTH} levels are read") from None
    except ValueError as error:
        raise InvalidMessage("not-json", str(error)[:200]) from None
    if not isinstance(content, dict):
        raise InvalidMessage("not-an-object", f"expected a JSON object, found {type(content).__name__}")
    if _depth(content) > MAX_DEPTH:
        raise InvalidMessage("too-deep", f"at most {MAX_DEPTH} levels are read")
    return content


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _depth(content: object) -> int:
    """Levels of nesting; stops counting just above the limit."""
    depth, level = 0, [content]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [child for node in level for child in _children(node)]
    return depth


def _children(node: object) -> list[object]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _structured(content: Mapping[str, Any]) -> Event:
    if content["specversion"] != "1.0":
        raise InvalidMessage("envelope", f"specversion must be '1.0', found {content['specversion']!r}"[:200])
    data = content.get("data")
    if not isinstance(data, dict):
        raise InvalidMessage("envelope", "data must be a JSON object")
    return Event(
        source=_attribute(content, "source"),
        event_id=_attribute(content, "id"),
        type=_attribute(content, "type"),
        time=str(content.get("time", "")),
        data=data,
    )


def _attribute(envelope: Mapping[str, Any], name: str) -> str:
    value = envelope.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 256:
        raise InvalidMessage("envelope", f"{name} must be a string of 1 to 256 characters")
    return value


def _payload(model: type[P], event: Event) -> P:
    return _validated(model, event.data)


def _validated(model: type[P], data: Mapping[str, Any]) -> P:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidMessage("schema", _first_errors(error)) from None


def _first_errors(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(str(level) for level in item['loc']) or '(all)'}: {item['msg']}" for item in found[:3]]
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return ("; ".join(told) + more)[:500]


def _actual(data: payloads.Actual, codes: PlantCodes) -> ActualCause:
    return ActualCause(
        cause_id=codes.own_cause(data.cause_code) if data.cause_code else None,
        cause_text=data.cause_text,
        confirms=data.confirms,
        action_ids=tuple(codes.own_action(action) for action in data.actions),
        parts=_parts(data.parts),
        minutes=_minutes(data),
        by=data.personnel,
    )


def _parts(used: list[payloads.UsedPart]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in used:
        total[part.material_id] = total.get(part.material_id, 0.0) + part.qty
    return total


def _minutes(data: payloads.Actual) -> float | None:
    if data.minutes is not None:
        return data.minutes
    if data.start_time is None or data.end_time is None or data.end_time < data.start_time:
        return None
    return (data.end_time - data.start_time).total_seconds() / 60
