"""Messages between the box and the plant, as the outbox and the inbox hold them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple
from uuid import UUID


class Lane(IntEnum):
    """Priority: a lower lane always goes first."""

    ORDERS = 0
    FINDINGS = 1
    RESULTS = 2
    TELEMETRY = 3


class Ack(StrEnum):
    """When a message is done: the broker has it, or the MES said it has it."""

    PUBACK = "puback"
    RECEIPT = "receipt"


class OutboxState(StrEnum):
    """The life of an outbox row."""

    PENDING = "pending"
    SENT = "sent"
    CONFIRMED = "confirmed"
    QUARANTINED = "quarantined"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundMessage:
    """One message to publish, written in the transaction that made the fact.

    Attributes:
        message_id: the CloudEvent's id, fixed now.
        topic: below the box's topic root, e.g. ``out/wo/{id}/order``; with a leading ``/`` it is absolute.
        body: the bytes as they go out (a CloudEvent in JSON); empty clears a retained topic.
        order_key: messages with the same key go out one after the other; empty: any order.
        content_type, correlation, response_topic, properties: MQTT 5 properties.
        expires_at: not worth sending after this; None never.
        expendable: something smaller will do should the outbox reach its quota: a count per minute of good parts, a
            defect without its image.
    """

    message_id: UUID
    topic: str
    body: bytes
    lane: Lane
    ack: Ack
    created_at: datetime
    retain: bool = False
    order_key: str = ""
    expires_at: datetime | None = None
    content_type: str = "application/cloudevents+json"
    correlation: str = ""
    response_topic: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    expendable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """An outbound message with its fate so far. ``sequence`` is the per-box counter without gaps."""

    sequence: int
    message: OutboundMessage
    state: OutboxState
    attempts: int
    next_attempt_at: datetime
    detail: str = ""


class Departure(NamedTuple):
    """What the relay needs of a row that is due, as it is stored: thousands are read in a second.

    Attributes:
        message_id: as text with dashes.
        expires_us: microseconds since 1970 UTC, or None.
        created_us: the same; when it was written.
        properties: user properties as a JSON object's text.
    """

    sequence: int
    message_id: str
    lane: int
    ack: str
    attempts: int
    expires_us: int | None
    topic: str
    body: bytes
    retain: bool
    content_type: str
    correlation: str
    response_topic: str
    properties: str
    created_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneUsage:
    """What a lane holds that is not finished.

    Attributes:
        size_bytes: of the bodies.
        oldest_at: when the oldest of these rows was written.
    """

    lane: Lane
    rows: int
    size_bytes: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """One message from the plant, stored before it was acknowledged. (source, message_id) is its identity."""

    source: str
    message_id: str
    topic: str
    body: bytes
    received_at: datetime
    properties: Mapping[str, str] = field(default_factory=dict)
