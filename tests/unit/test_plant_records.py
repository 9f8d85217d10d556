"""Telemetry and events from foreign senders."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.message import InboundMessage
from edge_agent.observability import metrics
from edge_agent.responding import plant_records
from edge_agent.responding.plant_records import InvalidRecordError, SignalSource, parse_event, parse_sample
from tests.fakes.clock import FakeClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def message(body: bytes | str | object, topic: str = "plant/etch/temp") -> InboundMessage:
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body
    return InboundMessage(source="plant", message_id="1", topic=topic, body=raw, received_at=NOW)


@pytest.mark.parametrize(
    ("body", "path", "value"),
    [
        ("45.2", None, 45.2),
        ("7", None, 7.0),
        ({"value": 3.5, "timestamp_ms": 1_700_000_000_000}, None, 3.5),
        ({"a": {"b": 4}}, "a.b", 4.0),
        ({"value": None}, None, None),
        ("null", None, None),
    ],
)
def test_samples(body: object, path: str | None, value: float | None) -> None:
    assert parse_sample(message(body), SignalSource(signal="s", path=path)).value == value


def test_the_source_time_wins() -> None:
    sample = parse_sample(message({"value": 1, "timestamp_ms": 1_700_000_000_000}), SignalSource(signal="s"))
    assert sample.at == datetime.fromtimestamp(1_700_000_000, UTC)


@pytest.mark.parametrize(
    "body",
    [
        "warm",
        "",
        b"\xff\xfe",
        "true",
        '"45"',
        "NaN",
        "1e999",
        "[1]",
        {"other": 1},
        {"value": {"deep": 1}},
        {"value": 1, "timestamp_ms": "yesterday"},
        {"value": 1, "timestamp_ms": 1e30},
        {"value": 1, "timestamp_ms": (NOW + timedelta(hours=1)).timestamp() * 1000},
        "[" * 30_000,
        b"1" * 20_000,
    ],
)
def test_bad_samples_are_refused(body: object) -> None:
    with pytest.raises(InvalidRecordError):
        parse_sample(message(body), SignalSource(signal="s"))


def test_a_redelivered_event_is_the_same_event() -> None:
    body = {"kind": "maintenance", "at": "2026-03-01T10:00:00+00:00", "subject": "etcher", "attributes": {"a": 1}}
    first, again = parse_event(message(body)), parse_event(message(body))
    assert first == again
    assert first.attributes == {"a": "1"}


def test_empty_attributes_are_none() -> None:
    assert parse_event(message({"kind": "x", "attributes": []})).attributes == {}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": ""},
        {"kind": "x", "at": "2026-03-01T10:00:00"},
        "[]",
        b'{"kind": "x", "subject": "half a surrogate pair: \\ud800"}',
    ],
)
def test_bad_events(body: object) -> None:
    with pytest.raises(InvalidRecordError):
        parse_event(message(body))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(body: bytes) -> None:
    for parse in (lambda m: parse_sample(m, SignalSource(signal="s")), parse_event):
        try:
            parse(message(body))
        except InvalidRecordError:
            continue


def test_what_waits_is_bounded_and_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plant_records, "_BUFFERED", 3)

    def lost(how: str) -> float:
        return float(metrics.SAMPLES_LOST.labels(how)._value.get())

    before = {how: lost(how) for how in ("dropped", "refused")}
    signals = {"plant/etch/temp": SignalSource(signal="s")}
    intake = plant_records.PlantRecordsIntake(store=Nowhere(), signals=signals, clock=FakeClock())  # type: ignore[arg-type]
    for number in range(5):
        intake.on_sample(message(str(number)))
    intake.on_sample(message("warm"))
    assert (lost("dropped") - before["dropped"], lost("refused") - before["refused"]) == (2, 1)


class Nowhere:
    """A store that nobody asks."""
