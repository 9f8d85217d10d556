"""The envelope: CloudEvents 1.0, structured JSON, in bytes that depend on the content alone.

The per-box ``sequence`` is not known when the bytes are made (the outbox gives it to the row), nor is how late they go
out. The relay puts both in when it publishes, with `with_sequence`, and repeats them as the MQTT user properties
``seq`` and ``late``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from edge_agent.contract.payloads import Payload, stamp
from edge_agent.domain.plant_codes import PlantCodes
from edge_agent.ports import Clock

CONTENT_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "org.edge-agent"
SCHEMA_PREFIX = "urn:edge-agent:schema"

_HEAD = b'{"specversion":"1.0",'


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who speaks.

    Attributes:
        topic_root: absolute, without a slash at the end.
        uri_base: where people and programs reach this box's web page, e.g. ``http://box-1:8080``; images and
            documents are sent as references below it.
        codes: what the plant calls things of ours.
    """

    agent: str
    topic_root: str
    uri_base: str
    software_version: str
    codes: PlantCodes = field(default_factory=PlantCodes)

    @property
    def source(self) -> str:
        """The CloudEvents source."""
        return f"urn:inspect:{self.agent}"

    def uri(self, path: str) -> str:
        """Reference to something this box serves."""
        return f"{self.uri_base.rstrip('/')}/{path.lstrip('/')}"


def event_type(name: str) -> str:
    """The full CloudEvents type, e.g. ``org.edge-agent.workorder.created.v1``."""
    return f"{TYPE_PREFIX}.{name}.v1"


def data_schema(payload: type[Payload]) -> str:
    """The identifier of a payload's JSON Schema; the file is ``schemas/<name>.json``."""
    return f"{SCHEMA_PREFIX}:{payload.schema_name}:1"


def seal(
    data: Payload, *, sender: Sender, clock: Clock, name: str, subject: str, causation: str = ""
) -> tuple[UUID, datetime, bytes]:
    """A payload in its envelope.

    Args:
        name: the inner part of the event's type, e.g. ``workorder.created``.
        subject: what it is about: the order, the unit.
        causation: id of the message that caused this one, where there is one.

    Returns:
        The event's id, its time, and the bytes.
    """
    message_id, now = clock.new_id(), clock.now()
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(message_id),
        "source": sender.source,
        "type": event_type(name),
        "subject": subject,
        "time": stamp(now),
        "datacontenttype": "application/json",
        "dataschema": data_schema(type(data)),
    }
    if causation:
        envelope["causationid"] = causation
    envelope["data"] = data.to_json_object()
    return message_id, now, compact(envelope)


def compact(value: Mapping[str, Any]) -> bytes:
    """JSON without blanks, keys in the order given, UTF-8. NaN and infinity are refused (ValueError)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def with_sequence(body: bytes, sequence: int, late_s: int = 0) -> bytes:
    """The event with its per-box sequence number; other bodies (empty, foreign) are returned as they are.

    Args:
        late_s: whole seconds since the event was written, where it goes out late; 0: it is not said.
    """
    if not body.startswith(_HEAD):
        return body
    late = b'"late":%d,' % late_s if late_s else b""
    return b'%s"sequence":"%d",%s%s' % (_HEAD, sequence, late, body[len(_HEAD) :])
