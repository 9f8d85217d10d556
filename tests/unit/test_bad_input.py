"""Bad input on each topic that the box reads: a clear event on ``out/error``, and the next message is taken."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.link.commands import CommandHandler
from edge_agent.adapters.link.inbox import InboxHandlers
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.adapters.triggers.mqtt import MqttTrigger
from edge_agent.config.stations import MqttTriggerOptions
from edge_agent.contract import inbound, payloads, topics
from edge_agent.contract.commands import CommandOutcome, Verb
from edge_agent.contract.complaints import Complaints
from edge_agent.contract.sparkplug.host import Source
from edge_agent.contract.sparkplug.payload import DataType, Metric, Payload, encode
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.plant import Sample
from edge_agent.responding.plant_records import PlantRecordsIntake, SignalSource
from edge_agent.responding.sparkplug_intake import SparkplugIntake
from tests.fakes.clock import FakeClock
from tests.fakes.plant_samples import ORDER, SENDER
from tests.fakes.trigger_link import TriggerLink

SIGNAL, EVENTS = "acme/north/_historian/etch_temp_c", "acme/north/_events"
SPARKPLUG = "spBv1.0/g/NBIRTH/n"


class Box:
    """Every handler that hangs on the link, with a real store."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.store = Database(sqlite_url(folder), clock=self.clock)
        self.store.migrate()
        inbox = InboxHandlers(self.store, self.clock, SENDER)
        complain = Complaints(store=self.store, sender=SENDER, clock=self.clock).write
        verbs = {"pause": Verb(run=lambda _unit, _request: CommandOutcome(status="done"))}
        commands = CommandHandler(self.store, self.clock, SENDER, verbs)
        link = TriggerLink(self.clock)
        self.trigger = MqttTrigger(
            MqttTriggerOptions(kind="mqtt"), station_id="s", strata={}, clock=self.clock, link=link, complain=complain
        )
        signals = {SIGNAL: SignalSource(signal="etch_temp_c")}
        records = PlantRecordsIntake(store=self.store, signals=signals, clock=self.clock, complain=complain)
        self.samples: list[Sample] = []
        source = {Source(group="g", node="n", metric="m"): "level"}
        sparkplug = SparkplugIntake(signals=source, accept=self.samples.append, clock=self.clock, complain=complain)
        below = SENDER.topic_root
        self.handlers: dict[str, tuple[str, Callable[[InboundMessage], None]]] = {
            "response": (f"{below}/{topics.response(ORDER.order_id)}", inbox.on_response),
            "receipt": (f"{below}/{topics.RECEIPT}", inbox.on_receipt),
            "mes-state": ("acme/north/_mes/v1/state", inbox.on_mes_state),
            "command": (f"{below}/{topics.command('pause')}", commands.on_command),
            "trigger": (f"{below}/{topics.command('trigger')}", lambda message: link.take(message)),
            "sample": (SIGNAL, records.on_sample),
            "event": (EVENTS, records.on_event),
            "sparkplug": (SPARKPLUG, sparkplug.on_message),
        }

    def send(self, kind: str, body: bytes) -> str:
        """Send it; the topic."""
        topic, handler = self.handlers[kind]
        handler(InboundMessage(source="", message_id="", topic=topic, body=body, received_at=self.clock.now()))
        return topic

    def told(self) -> list[dict[str, Any]]:
        """What stands on ``out/error``, newest first."""
        return self.said(topics.ERROR)

    def said(self, topic: str) -> list[dict[str, Any]]:
        """What was written for a topic, newest first."""
        with self.store.reader() as unit:
            rows = unit.outbox.rows(limit=500)
        return [json.loads(row.message.body)["data"] for row in rows if row.message.topic == topic]

    def at(self, **ahead: float) -> str:
        return payloads.stamp(self.clock.now() + timedelta(**ahead))


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    made = Box(tmp_path_factory.mktemp("box"))
    yield made
    made.store.close()


GOOD: dict[str, Callable[[Box], Any]] = {
    "response": lambda box: {"responseId": box.at(), "jobOrderId": str(ORDER.order_id), "event": "accepted"},
    "receipt": lambda _: {"ids": [str(ORDER.order_id)]},
    "mes-state": lambda _: {"online": True},
    "command": lambda box: {"commandId": box.at(), "notAfter": box.at(seconds=30)},
    "trigger": lambda box: {"triggerId": box.at(), "partId": "p", "productId": "q", "at": box.at()},
    "sample": lambda _: {"value": 48.5},
    "event": lambda _: {"kind": "changeover"},
}
LARGE = {"sparkplug": (1 << 20) + 1}


@pytest.mark.parametrize("kind", [*GOOD, "sparkplug"])
def test_what_is_too_large_is_told(box: Box, kind: str) -> None:
    topic = box.send(kind, b'"' + b"x" * LARGE.get(kind, inbound.MAX_BYTES) + b'"')
    told = box.told()[0]
    assert (told["class"], told["topic"]) == ("inbound-invalid", topic)
    assert "oversize" in told["reasonCode"] or "size" in told["reasonCode"]


@pytest.mark.parametrize("kind", [*GOOD, "sparkplug"])
def test_what_cannot_be_read_is_told_and_the_next_one_is_taken(box: Box, kind: str) -> None:
    before = len(box.told())
    topic = box.send(kind, b'{"half": ')
    told = box.told()
    assert len(told) == before + 1
    assert (told[0]["class"], told[0]["topic"]) == ("inbound-invalid", topic)
    assert told[0]["excerpt"] == '{"half": '
    if kind in GOOD:
        box.clock.advance(1)
        box.send(kind, json.dumps(GOOD[kind](box)).encode())
        assert len(box.told()) == before + 1


@pytest.mark.parametrize(
    ("kind", "more", "reason"),
    [
        ("response", {"actual": {"endTime": {"hours": 2}}}, "future-dated"),
        ("trigger", {"at": {"minutes": 2}}, "trigger.future"),
        ("sample", {"timestamp_ms": {"hours": 1}}, "future-dated"),
        ("event", {"at": {"hours": 1}}, "future-dated"),
    ],
)
def test_what_comes_from_the_future_is_told(box: Box, kind: str, more: dict[str, Any], reason: str) -> None:
    box.clock.advance(1)

    def filled(name: str, value: Any) -> Any:
        if isinstance(value, dict) and not {"hours", "minutes"} & set(value):
            return {inner: filled(inner, one) for inner, one in value.items()}
        ahead = box.clock.now() + timedelta(**value)
        return int(ahead.timestamp() * 1000) if name == "timestamp_ms" else payloads.stamp(ahead)

    body = GOOD[kind](box) | {name: filled(name, value) for name, value in more.items()}
    topic = box.send(kind, json.dumps(body).encode())
    assert (box.told()[0]["reasonCode"], box.told()[0]["topic"]) == (reason, topic)


def test_an_event_whose_sender_is_ahead_is_told_and_taken(box: Box) -> None:
    box.clock.advance(1)
    envelope = {"specversion": "1.0", "id": box.at(), "source": "urn:mes", "type": "x", "time": box.at(hours=1)}
    box.send("command", json.dumps(envelope | {"data": GOOD["command"](box)}).encode())
    assert box.told()[0]["reasonCode"] == "future-dated"
    assert box.said(topics.REPLY)[0]["status"] == "done"


@pytest.mark.parametrize("time", [None, 7, "yesterday", "2026-01-05T06:00:00", "x" * 1_000])
def test_a_time_that_is_none_is_not_worth_a_word(box: Box, time: Any) -> None:
    box.clock.advance(1)
    before = len(box.told())
    envelope = {"specversion": "1.0", "id": box.at(), "source": "urn:mes", "type": "x", "time": time}
    box.send("command", json.dumps(envelope | {"data": GOOD["command"](box)}).encode())
    assert (box.said(topics.REPLY)[0]["status"], len(box.told())) == ("done", before)


def test_a_sparkplug_value_from_the_future_is_told_and_unknown(box: Box) -> None:
    ahead = int((box.clock.now() + timedelta(hours=1)).timestamp() * 1000)
    metric = Metric(name="m", timestamp_ms=ahead, datatype=DataType.DOUBLE, value=1.5)
    bd_seq = Metric(name="bdSeq", datatype=DataType.INT64, value=0)
    box.send("sparkplug", encode(Payload(timestamp_ms=ahead, seq=0, metrics=(bd_seq, metric))))
    assert box.told()[0]["reasonCode"] == "future-dated"
    assert [(sample.signal, sample.value) for sample in box.samples] == [("level", None)]


def test_a_trigger_that_comes_too_late_or_out_of_order_is_told(box: Box) -> None:
    for number, more in enumerate(({"sequence": 10}, {"sequence": 9}, {"at": box.at(hours=-1)})):
        body = GOOD["trigger"](box) | {"triggerId": f"o-{number}"} | more
        box.send("trigger", json.dumps(body).encode())
    assert [told["reasonCode"] for told in box.told()[:2]] == ["trigger.stale", "trigger.out_of_order"]


def test_a_sensor_that_talks_nonsense_fills_nothing(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for _ in range(100):
        box.send("sample", b"warm")
    assert len(box.told()) == 7, "the 1st, 2nd, 4th ... 64th"
    assert "64 refused so far" in box.told()[0]["detail"]
    box.store.close()
