"""One message of a box as a row, or the reason why it cannot be one. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from edge_agent.contract.envelope import TYPE_PREFIX
from edge_agent.contract.inbound import MAX_DEPTH

LARGEST_NUMBER = 2**62
MOST_RUNS = 5_000
LONGEST_RUN = 10_000_000
LONGEST_TEXT = 512
COUNTED = f"{TYPE_PREFIX}.inspection.counted.v1"
_METRIC = "out/metric/"
_LEVELS = 8
"""Of a box's topic root."""


class Refused(Exception):
    """A message that cannot be a row.

    Attributes:
        reason: ``oversize``, ``not-json``, ``too-deep``, ``envelope``, ``wrong-topic``, ``metric`` or ``database``.
        message_id: of its envelope, where that much could be read.
    """

    def __init__(self, reason: str, detail: str, message_id: UUID | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.message_id = reason, detail, message_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Who sent it, and where it stands."""

    root: str
    name: str
    enterprise: str
    site: str
    area: str
    line: str
    cell: str

    @property
    def source(self) -> str:
        """The CloudEvents source; a box's name is unique in the plant (it is its MQTT client id)."""
        return f"urn:inspect:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A message in an envelope.

    Attributes:
        topic: below the box's root.
        sequence: the box's number of it; None where it has none (the state).
        stands_for: numbers [first, last] of messages that it replaces.
        data: JSON text.
    """

    box: Box
    id: UUID
    type: str
    subject: str
    time: datetime
    topic: str
    sequence: int | None
    stands_for: Sequence[tuple[int, int]]
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value of a box's own."""

    box: Box
    name: str
    time_ms: int
    value: float


def read(topic: str, body: bytes, *, largest: int) -> Event | Reading | None:
    """What it is; None: nothing to keep (a retained message is cleared by an empty one).

    Args:
        largest: bytes that are read.

    Raises:
        Refused: it can be none.
    """
    if not body:
        return None
    box, rest = _place(topic)
    if len(body) > largest:
        raise Refused("oversize", f"at most {largest} bytes are read, this has {len(body)}")
    content = _json_object(body)
    if rest.startswith(_METRIC):
        return _reading(box, rest[len(_METRIC) :], content)
    return _event(box, rest, content)


def _place(topic: str) -> tuple[Box, str]:
    levels = topic.split("/")
    if len(levels) < _LEVELS + 2 or levels[5:7] != ["_inspect", "v1"] or levels[_LEVELS] != "out":
        raise Refused("wrong-topic", "not below out/ of a box")
    enterprise, site, area, line, cell = levels[:5]
    box = Box(
        root="/".join(levels[:_LEVELS]),
        name=levels[7],
        enterprise=enterprise,
        site=site,
        area=area,
        line=line,
        cell=cell,
    )
    return box, "/".join(levels[_LEVELS:])


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise Refused("too-deep", f"at most {MAX_DEPTH} levels are read") from None
    except ValueError as error:
        raise Refused("not-json", str(error)[:200]) from None
    if not isinstance(content, dict):
        raise Refused("not-json", f"expected a JSON object, found {type(content).__name__}")
    if _deeper(content):
        raise Refused("too-deep", f"at most {MAX_DEPTH} levels are read")
    return content


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _deeper(content: object) -> bool:
    level: list[object] = [content]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return False
    return True


def _inside(value: object) -> Sequence[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _reading(box: Box, name: str, content: Mapping[str, Any]) -> Reading:
    value, at = content.get("value"), content.get("timestamp_ms")
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise Refused("metric", "value is no number")
    if isinstance(at, bool) or not isinstance(at, int) or not 0 < at < 10**14:
        raise Refused("metric", "timestamp_ms is no time")
    return Reading(box=box, name=name, time_ms=at, value=float(value))


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _event(box: Box, topic: str, content: Mapping[str, Any]) -> Event:
    message_id = _uuid(content.get("id"))
    if content.get("specversion") != "1.0":
        raise Refused("envelope", "not a CloudEvent 1.0", message_id)
    if message_id is None:
        raise Refused("envelope", "its id is no UUID")
    if content.get("source") != box.source:
        raise Refused("envelope", f"its source is not {box.source}, whose topic this is", message_id)
    try:
        kind, data = str(content["type"]), content["data"]
        time = datetime.fromisoformat(str(content["time"]))
        sequence = _sequence(content.get("sequence"))
        runs = _runs(data) if kind == COUNTED else ()
    except (KeyError, TypeError, ValueError) as error:
        raise Refused("envelope", f"{type(error).__name__}: {error}"[:200], message_id) from None
    if time.tzinfo is None:
        raise Refused("envelope", "its time has no zone", message_id)
    if len(kind) > LONGEST_TEXT:
        raise Refused("envelope", "its type is too long", message_id)
    return Event(
        box=box,
        id=message_id,
        type=kind,
        subject=str(content.get("subject", ""))[:LONGEST_TEXT],
        time=time,
        topic=topic,
        sequence=sequence,
        stands_for=runs,
        data=json.dumps(data),
    )


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _sequence(value: object) -> int | None:
    if value is None:
        return None
    number = int(str(value))
    if not 0 < number < LARGEST_NUMBER:
        raise ValueError(f"sequence {number} is not possible")
    return number


def _runs(data: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    runs = data.get("sequences", [])
    if len(runs) > MOST_RUNS:
        raise ValueError(f"more than {MOST_RUNS} runs")
    found = tuple((int(first), int(last)) for first, last in runs)
    if any(not 0 < first <= last < LARGEST_NUMBER or last - first > LONGEST_RUN for first, last in found):
        raise ValueError("a run that is not possible")
    return found
