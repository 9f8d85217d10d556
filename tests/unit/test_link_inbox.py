"""What the plant sends, however often and in whatever order: kept once, answered each time."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.link.inbox import InboxHandlers
from edge_agent.adapters.link.relay import Relay
from edge_agent.adapters.store.database import Database
from edge_agent.config.plant import MqttSection
from edge_agent.contract import topics
from edge_agent.domain.message import Ack, InboundMessage, Lane, OutboxState
from edge_agent.domain.work_order import OrderState
from tests.fakes.clock import FakeClock
from tests.fakes.made import a_message, an_order
from tests.fakes.plant_samples import ROOT, SENDER
from tests.unit.test_relay import FakeBroker


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'x.sqlite3'}", clock=clock)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def handlers(store: Database, clock: FakeClock) -> InboxHandlers:
    return InboxHandlers(store, clock, SENDER)


def message(clock: FakeClock, topic: str, body: Any) -> InboundMessage:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return InboundMessage(
        source="", message_id="", topic=topics.under(ROOT, topic), body=raw, received_at=clock.now(), properties={}
    )


ORDER = "01900000-0000-7000-8000-000000000005"


def response(clock: FakeClock, event: str = "accepted", number: int = 1) -> InboundMessage:
    data = {"responseId": f"r-{number}", "jobOrderId": ORDER, "rev": 1, "event": event}
    envelope = {"specversion": "1.0", "id": f"r-{number}", "source": "urn:mes", "type": "x", "data": data}
    return message(clock, topics.response(ORDER), envelope)


def acknowledged(store: Database) -> list[dict[str, Any]]:
    with store.reader() as reader:
        rows = reader.outbox.rows(limit=100)[::-1]
    return [json.loads(row.message.body)["data"] for row in rows if row.message.topic.endswith("/response-ack")]


def processed(store: Database, outcome: str) -> None:
    with store.unit() as unit:
        for number, _ in unit.inbox.unprocessed(10):
            unit.inbox.mark_processed(number, outcome=outcome)
        unit.commit()


def test_a_repeated_answer_is_kept_once(store: Database, handlers: InboxHandlers, clock: FakeClock) -> None:
    for _ in range(3):
        handlers.on_response(response(clock))
    with store.reader() as reader:
        assert len(reader.inbox.unprocessed(10)) == 1
    assert acknowledged(store) == [], "its acknowledgement comes when it is applied"


@pytest.mark.parametrize(
    ("outcome", "status", "detail"),
    [("applied", "applied", None), ("ignored: it is closed already", "ignored", "it is closed already")],
)
def test_an_answer_that_comes_again_is_acknowledged_again(
    store: Database, handlers: InboxHandlers, clock: FakeClock, outcome: str, status: str, detail: str | None
) -> None:
    """The MES says it again because the broker that had our acknowledgement was killed."""
    handlers.on_response(response(clock))
    processed(store, outcome)
    handlers.on_response(response(clock))
    (said,) = acknowledged(store)
    assert (said["responseId"], said["status"], said.get("detail")) == ("r-1", status, detail)
    with store.reader() as reader:
        assert reader.inbox.unprocessed(10) == [], "and not applied again"


def test_answers_out_of_order_are_all_kept_in_the_order_of_arrival(
    store: Database, handlers: InboxHandlers, clock: FakeClock
) -> None:
    for number, event in ((3, "closed"), (1, "accepted"), (2, "started"), (1, "accepted")):
        handlers.on_response(response(clock, event, number))
    with store.reader() as reader:
        assert [each.message_id for _, each in reader.inbox.unprocessed(10)] == ["r-3", "r-1", "r-2"]


SURROGATE = (
    b'{"specversion":"1.0","id":"\\ud800","source":"urn:\\udfff","type":"x","data":{"responseId":"\\ud800",'
    b'"jobOrderId":"' + ORDER.encode() + b'","rev":1,"event":"closed","reason":"\\udc00"}}'
)
POISON = {
    "half a character": SURROGATE,
    "no JSON": b"\xff\xfe{",
    "nothing": b"",
    "a list": b"[1]",
    "deep": b"[" * 5_000 + b"]" * 5_000,
    "no payload": b"{}",
    "a huge number": b'{"responseId": 1e999}',
    "another order": json.dumps({"responseId": "r", "jobOrderId": ORDER[:-1] + "6", "rev": 1, "event": "closed"}),
}


@pytest.mark.parametrize("body", POISON.values(), ids=POISON.keys())
def test_poison_is_told_and_not_kept(
    store: Database, handlers: InboxHandlers, clock: FakeClock, body: bytes | str
) -> None:
    raw = body if isinstance(body, bytes) else body.encode()
    for handle, topic in (
        (handlers.on_response, topics.response(ORDER)),
        (handlers.on_receipt, topics.RECEIPT),
    ):
        handle(message(clock, topic, raw))
    with store.reader() as reader:
        assert reader.inbox.unprocessed(10) == []
        told = [row for row in reader.outbox.rows() if row.message.topic == topics.ERROR]
    assert len(told) == 2
    assert {json.loads(row.message.body)["data"]["class"] for row in told} == {"inbound-invalid"}


def test_a_flood_of_poison_fills_nothing(store: Database, handlers: InboxHandlers, clock: FakeClock) -> None:
    for _ in range(100):
        handlers.on_receipt(message(clock, topics.RECEIPT, b"{"))
    with store.reader() as reader:
        assert sum(reader.outbox.counts().values()) == 60


def sent(store: Database, clock: FakeClock) -> int:
    """A defect that the broker has and the MES has not."""
    with store.unit() as unit:
        sequence = unit.outbox.add(a_message(clock, lane=Lane.FINDINGS, ack=Ack.RECEIPT))
        unit.outbox.mark_sent([sequence], at=clock.now(), retry_at={sequence: clock.now() + timedelta(hours=1)})
        unit.commit()
    return sequence


def due(store: Database, clock: FakeClock) -> list[int]:
    with store.reader() as reader:
        return [row.sequence for row in reader.outbox.due(clock.now(), 100)]


def test_only_the_edge_to_online_sends_again(store: Database, handlers: InboxHandlers, clock: FakeClock) -> None:
    def mes(online: bool) -> None:
        handlers.on_mes_state(message(clock, "x", {"online": online}))

    mes(True)
    sequence = sent(store, clock)
    mes(True)
    assert due(store, clock) == [], "it was there all the time"
    mes(False)
    assert due(store, clock) == []
    mes(True)
    assert due(store, clock) == [sequence]


def test_a_broker_that_forgot_gets_the_open_orders_and_the_index_again(store: Database, clock: FakeClock) -> None:
    with store.unit() as unit:
        unit.orders.save(an_order(clock, number="WO-1", state=OrderState.ACCEPTED))
        unit.orders.save(an_order(clock, number="WO-2", state=OrderState.CLOSED))
        unit.commit()
    broker = FakeBroker()
    relay = Relay(broker, store, options=MqttSection(host="x"), sender=SENDER, clock=clock)  # type: ignore[arg-type]
    broker.connect(session=True)
    relay.step(0.0)
    assert broker.published == [], "a broker that knows us needs nothing"
    broker.lose(0x8B, and_return=False)
    broker.connect(session=False)
    relay.step(0.0)
    said = [json.loads(each.body)["data"] for each in broker.published]
    assert [each.get("number") for each in said] == ["WO-1", None]
    assert [entry["state"] for entry in said[1]["orders"]] == ["accepted"]
    with store.reader() as reader:
        assert reader.outbox.counts()[OutboxState.PENDING] == 0
