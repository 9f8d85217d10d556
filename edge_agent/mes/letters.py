"""The few messages that a MES and a box exchange, as plain JSON: read with care, written as CloudEvents."""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

RECEIPTED = ("defect", "rca", "wo", "report")
"""Kinds of messages that a box sends again until it has a receipt."""


def opened(body: bytes) -> dict[str, Any] | None:
    """The CloudEvent, or None for what is none (a cleared retained message, garbage)."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not all(isinstance(event.get(name), str) for name in ("id", "source")):
        return None
    return event if isinstance(event.get("data"), dict) else None


def addressed(topic: str) -> tuple[str, str]:
    """(the box's topic root, what comes after ``/out/``)."""
    root, _, rest = topic.partition("/out/")
    return root, rest


def sealed(source: str, event_id: str, name: str, data: Mapping[str, Any]) -> bytes:
    """A CloudEvent of ours."""
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": f"example.mes.{name}.v1",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(event).encode()


def receipt(source: str, ids: Sequence[str], status: str) -> bytes:
    """We have these events: ``received`` or ``duplicate``."""
    return sealed(source, str(uuid.uuid4()), "receipt", {"ids": list(ids), "status": status})


def response(
    source: str,
    response_id: str,
    order: Mapping[str, Any],
    event: str,
    *,
    mes_id: str = "",
    reason: str = "",
    actual: Mapping[str, Any] | None = None,
    suspicion: str = "",
) -> bytes:
    """What became of an order: ``accepted``, ``rejected``, ``started``, ``held``, ``completed``, ``closed``, ...

    Args:
        order: the box's document (``jobOrderId`` and ``rev`` are repeated).
        actual: what was found and done; with ``closed``.
        suspicion: the cause that somebody suspects before they have seen a ranking.
    """
    data: dict[str, Any] = {
        "responseId": response_id,
        "jobOrderId": order["jobOrderId"],
        "rev": order["rev"],
        "event": event,
        "mesOrderId": mes_id,
    }
    if reason:
        data["reason"] = reason
    if suspicion:
        data["suspicion"] = suspicion
    if actual is not None:
        data["actual"] = dict(actual)
    return sealed(source, response_id, f"jobresponse.{event}", data)


def confirms(expected: str | None, suspected: Sequence[str], found: str) -> str:
    """Does what was found confirm the first suspect (yes), another one (partly), or none (no)?"""
    if found == expected:
        return "yes"
    return "partly" if found in suspected else "no"
