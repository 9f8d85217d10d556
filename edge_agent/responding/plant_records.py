"""What the plant tells us over MQTT besides triggers: process signals into the ring, events into the store."""

import json
import math
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog

from edge_agent.contract.complaints import Complain
from edge_agent.contract.inbound import InvalidMessage
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.plant import PlantEvent, Sample
from edge_agent.observability import metrics
from edge_agent.ports import Clock, Store

log = structlog.get_logger(__name__)

_BUFFERED = 20_000
"""Samples that may wait for the writer; the oldest are dropped beyond it and counted."""
_BATCH = 1_000
_MAX_BYTES = 16 * 1024
_AHEAD = timedelta(minutes=5)
"""A source's clock may run ahead by this much; a later time is refused."""
_MAX_ATTRIBUTES = 32


class InvalidRecordError(ValueError):
    """A payload that is not what the configuration says it is.

    Attributes:
        reason: ``record``, ``oversize`` or ``future-dated``.
    """

    def __init__(self, detail: str, reason: str = "record") -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSource:
    """Where a signal's values stand in its messages."""

    signal: str
    path: str | None = None


class Thinning:
    """Keeps a signal's readings apart by an interval, by their own times. What is bad is kept: it says something."""

    def __init__(self, max_rate_hz: Mapping[str, float]) -> None:
        self._apart = {signal: timedelta(seconds=1 / rate) for signal, rate in max_rate_hz.items()}
        self._last: dict[str, Sample] = {}
        self.thinned = 0

    def keeps(self, sample: Sample) -> bool:
        """Is this one kept?"""
        last, apart = self._last.get(sample.signal), self._apart.get(sample.signal)
        same_kind = last is not None and (last.value is None) == (sample.value is None)
        if last is not None and apart is not None and same_kind and timedelta(0) <= sample.at - last.at < apart:
            self.thinned += 1
            return False
        self._last[sample.signal] = sample
        return True


def parse_sample(message: InboundMessage, source: SignalSource) -> Sample:
    """One sample of a plain number, ``{"value", "timestamp_ms"}``, or a value under ``source.path``.

    Raises:
        InvalidRecordError: too large, not JSON, no number, or dated in the future.
    """
    body = _decode(message)
    at = message.received_at
    value = body
    if isinstance(body, dict):
        value = _at_path(body, source.path or "value")
        at = _instant(body.get("timestamp_ms"), message.received_at)
    if value is None:
        return Sample(signal=source.signal, value=None, at=at)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidRecordError(f"expected a number, found {value!r:.60}")
    return Sample(signal=source.signal, value=float(value), at=at)


def parse_event(message: InboundMessage) -> PlantEvent:
    """One event of ``{"kind", "at"?, "subject"?, "attributes"?, "id"?}``.

    Raises:
        InvalidRecordError: as for samples, or without a kind.
    """
    body = _decode(message)
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str) or not body["kind"]:
        raise InvalidRecordError('expected {"kind": ..., "at": ...}')
    attributes = body.get("attributes") or {}
    if not isinstance(attributes, dict) or len(attributes) > _MAX_ATTRIBUTES:
        raise InvalidRecordError(f"attributes: expected an object with at most {_MAX_ATTRIBUTES} entries")
    at = _instant(body.get("at"), message.received_at)
    return PlantEvent(
        event_id=_event_id(body, message, at),
        kind=body["kind"][:64],
        at=at,
        subject=str(body.get("subject", ""))[:128],
        attributes={str(key)[:64]: str(value)[:128] for key, value in attributes.items()},
    )


class PlantRecordsIntake:
    """Takes telemetry and events from the link and writes them in batches.

    Samples may be lost in a crash (the next ones follow within seconds); events are committed before they are
    acknowledged.
    """

    def __init__(
        self,
        *,
        store: Store,
        signals: Mapping[str, SignalSource],
        clock: Clock,
        max_rate_hz: Mapping[str, float] | None = None,
        complain: Complain = lambda _message, _error: None,
    ) -> None:
        """Args:
        max_rate_hz: of each signal; others are kept as they come.
        complain: tells the plant of a message that cannot be used.
        """
        self._store = store
        self._thinning = Thinning(max_rate_hz or {})
        self._signals = signals
        self._clock = clock
        self._buffer: deque[Sample] = deque(maxlen=_BUFFERED)
        self._lock = threading.Lock()
        self._complain = complain
        self._refused: Counter[tuple[str, str]] = Counter()

    def on_sample(self, message: InboundMessage) -> None:
        """Handler for the topics of all signals."""
        source = self._signals.get(message.topic)
        if source is None:
            return
        try:
            sample = parse_sample(message, source)
        except InvalidRecordError as error:
            self._refuse(message, error)
            return
        self.accept(sample)

    def accept(self, sample: Sample) -> None:
        """Keep a sample until `flush` writes it, from whatever source."""
        with self._lock:
            if self._thinning.keeps(sample):
                metrics.SAMPLES_LOST.labels("dropped").inc(len(self._buffer) == _BUFFERED)
                self._buffer.append(sample)

    def on_event(self, message: InboundMessage) -> None:
        """Handler for the events topic."""
        try:
            event = parse_event(message)
        except InvalidRecordError as error:
            self._refuse(message, error)
            return
        with self._store.unit() as unit:
            unit.plant.add_event(event)
            unit.commit()

    def flush(self) -> bool:
        """Write one batch of samples; False when there was none."""
        with self._lock:
            batch = [self._buffer.popleft() for _ in range(min(_BATCH, len(self._buffer)))]
        if not batch:
            return False
        with self._store.unit(durable=False) as unit:
            unit.plant.add_samples(batch)
            unit.commit()
        return True

    def _refuse(self, message: InboundMessage, error: InvalidRecordError) -> None:
        metrics.SAMPLES_LOST.labels("refused").inc()
        kind = message.topic, error.reason
        count = self._refused[kind] + 1
        if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a chattering sensor must fill nothing
            self._complain(message, InvalidMessage(error.reason, f"{error}; {count} refused so far"))
            log.warning("plant record refused", topic=message.topic, error=str(error), refused_so_far=count)
        self._refused[kind] = count


def _decode(message: InboundMessage) -> Any:
    if len(message.body) > _MAX_BYTES:
        raise InvalidRecordError(f"{len(message.body)} bytes, at most {_MAX_BYTES} accepted", "oversize")
    try:
        content = json.loads(message.body)
        if b"\\u" in message.body:  # half a surrogate pair is JSON, but no text that could be written down
            json.dumps(content, ensure_ascii=False).encode()
        return content
    except (ValueError, RecursionError) as error:
        raise InvalidRecordError(f"not JSON: {message.body[:60]!r}") from error


def _at_path(body: Mapping[str, Any], path: str) -> Any:
    node: Any = body
    for key in path.split("."):
        if not isinstance(node, dict) or key not in node:
            raise InvalidRecordError(f"no {path!r} in the payload")
        node = node[key]
    return node


def _instant(given: object, received_at: datetime) -> datetime:
    """The source's time: milliseconds since the epoch or RFC 3339 with an offset; else the time of receipt."""
    if given is None:
        return received_at
    try:
        if isinstance(given, str):
            at = datetime.fromisoformat(given)
            if at.tzinfo is None:
                raise InvalidRecordError(f"time {given!r} has no offset")
            at = at.astimezone(UTC)
        elif isinstance(given, int | float) and not isinstance(given, bool):
            at = datetime.fromtimestamp(given / 1000, UTC)
        else:
            raise InvalidRecordError(f"not a time: {given!r:.60}")
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidRecordError(f"not a time: {given!r:.60}") from error
    if at > received_at + _AHEAD:
        raise InvalidRecordError(f"dated in the future: {at.isoformat()}", "future-dated")
    return at


def _event_id(body: Mapping[str, Any], message: InboundMessage, at: datetime) -> UUID:
    """The sender's UUID, else one made from the content, so that a redelivery is the same event."""
    given = body.get("id")
    if isinstance(given, str):
        try:
            return UUID(given)
        except ValueError:
            return uuid5(NAMESPACE_URL, f"{message.topic}#{given}")
    return uuid5(NAMESPACE_URL, f"{message.topic}#{at.isoformat()}#{message.body!r}")
