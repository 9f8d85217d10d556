"""The relay's decisions, with a broker that answers as told and the real store."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from edge_agent.adapters.link.connection import Limits, Puback
from edge_agent.adapters.link.packets import Parcel
from edge_agent.adapters.link.relay import Relay
from edge_agent.adapters.store.database import Database
from edge_agent.config.plant import MqttSection
from edge_agent.contract import topics
from edge_agent.contract.signed import taken_apart
from edge_agent.domain.faults import Transient
from edge_agent.domain.message import Ack, Lane, OutboundMessage, OutboxRow, OutboxState
from edge_agent.signing.jws import verify
from edge_agent.signing.keys import SigningKey
from tests.fakes.clock import FakeClock
from tests.fakes.made import a_message
from tests.fakes.plant_samples import ROOT, SENDER


class FakeBroker:
    """Stands where the connection stands: keeps what is published, answers with ``codes`` (default: success)."""

    def __init__(self) -> None:
        self.pubacks: deque[Puback] = deque()
        self.lost: deque[tuple[int, int]] = deque()
        self.changed = threading.Event()
        self.wake_at = 1
        self.limits: Limits | None = None
        self.published: list[Parcel] = []
        self.codes: dict[str, int] = {}
        self.answering = True
        self.resets: list[str] = []

    def connect(self, *, receive_maximum: int = 100, packet_bytes: int | None = None, session: bool = True) -> None:
        epoch = self.limits.epoch + 1 if self.limits else 1
        self.limits = Limits(
            epoch=epoch, receive_maximum=receive_maximum, packet_bytes=packet_bytes, session_present=session
        )

    def lose(self, code: int = 0x80, *, and_return: bool = True) -> None:
        assert self.limits is not None
        self.lost.append((self.limits.epoch, code))
        if and_return:
            self.connect()

    def send(self, parcels: Sequence[Parcel], epoch: int) -> list[int]:
        if self.limits is None or epoch != self.limits.epoch:
            return []
        return [self._answer(parcel, epoch) for parcel in parcels]

    def _answer(self, parcel: Parcel, epoch: int) -> int:
        self.published.append(parcel)
        mid = len(self.published)
        if self.answering:
            code = next((code for text, code in self.codes.items() if text in parcel.body.decode()), 0)
            self.pubacks.append(Puback(epoch=epoch, mid=mid, code=code))
        return mid

    def reset(self, why: str) -> None:
        self.resets.append(why)

    def bodies(self) -> list[str]:
        return [message.body.decode() for message in self.published]


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
def broker() -> FakeBroker:
    return FakeBroker()


def relay_of(store: Any, broker: FakeBroker, clock: FakeClock, **options: Any) -> Relay:
    key = options.pop("signing_key", None)
    section = MqttSection(host="broker", **options)
    return Relay(broker, store, options=section, sender=SENDER, clock=clock, signing_key=key)  # type: ignore[arg-type]


def add(store: Database, clock: FakeClock, *bodies: str, ack: Ack = Ack.PUBACK, **more: Any) -> None:
    with store.unit() as unit:
        for body in bodies:
            unit.outbox.add(
                OutboundMessage(
                    message_id=clock.new_id(),
                    topic=more.get("topic", topics.DEFECT),
                    body=body.encode(),
                    lane=Lane.FINDINGS,
                    ack=ack,
                    created_at=clock.now(),
                )
            )
        unit.commit()


def rows(store: Database) -> dict[str, OutboxRow]:
    with store.reader() as reader:
        return {row.message.body.decode(): row for row in reader.outbox.rows(limit=1000)}


def errors(store: Database) -> list[OutboxRow]:
    return [row for row in rows(store).values() if row.message.topic == topics.ERROR]


def test_offline_nothing_is_sent_and_nothing_changes(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    add(store, clock, "a")
    assert relay_of(store, broker, clock).step(0.0) == 0
    assert rows(store)["a"].state is OutboxState.PENDING


def test_topics_are_made_absolute(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    broker.connect()
    add(store, clock, "a")
    assert relay_of(store, broker, clock).step(0.0) == 1
    assert broker.published[0].topic == f"{ROOT}/{topics.DEFECT}"
    assert rows(store)["a"].state is OutboxState.CONFIRMED


@pytest.mark.parametrize(("waited_s", "late"), [(0, None), (60, None), (61, 61), (3 * 86_400.7, 259_202), (-600, None)])
def test_what_goes_out_late_says_so_and_keeps_its_time(
    store: Database, broker: FakeBroker, clock: FakeClock, waited_s: float, late: int | None
) -> None:
    add(store, clock, '{"specversion":"1.0","time":"then"}', "")
    clock.set(clock.now() + timedelta(seconds=waited_s))
    broker.connect()
    relay_of(store, broker, clock).step(0.0)
    event, cleared = broker.published
    assert json.loads(event.body).get("late") == late
    assert json.loads(event.body)["time"] == "then"
    assert event.late_s == (late or 0)
    assert (cleared.body, cleared.late_s) == (b"", 0)


@pytest.mark.parametrize(("days", "expiry_days"), [(None, None), (1, 1), (90, 30)])
def test_the_broker_is_not_asked_to_keep_it_for_ever(
    store: Database, broker: FakeBroker, clock: FakeClock, days: int | None, expiry_days: int | None
) -> None:
    with store.unit() as unit:
        unit.outbox.add(a_message(clock, expires_at=None if days is None else clock.now() + timedelta(days=days)))
        unit.commit()
    broker.connect()
    relay_of(store, broker, clock).step(0.0)
    assert broker.published[0].expiry_s == (None if expiry_days is None else expiry_days * 86_400)


def test_orders_and_reports_are_signed_as_they_go_out(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    broker.connect()
    key = SigningKey.new()
    event = '{"specversion":"1.0","data":{}}'
    for topic in (topics.order("1"), topics.report("2"), topics.DEFECT):
        add(store, clock, event, topic=topic)
    add(store, clock, "", topic=topics.order("1"))  # clears it
    relay_of(store, broker, clock, signing_key=key).step(0.0)
    order, report, defect, cleared = broker.published
    for number, signed in ((1, order), (2, report)):
        text, signature = taken_apart(signed.body)
        assert text.decode() == event.replace('"1.0",', f'"1.0","sequence":"{number}",')
        proven = verify(signature, text, {key.public.key_id: key.public}.get)
        assert proven.header["topic"] == signed.topic
    assert (b"signature" in defect.body, cleared.body) == (False, b"")


@pytest.mark.parametrize(("own", "brokers", "expected"), [(10, 100, 10), (100, 7, 7), (1, 1, 1)])
def test_the_window_is_the_smaller_one(
    store: Database, broker: FakeBroker, clock: FakeClock, own: int, brokers: int, expected: int
) -> None:
    broker.connect(receive_maximum=brokers)
    broker.answering = False
    add(store, clock, *[f"m{n}" for n in range(30)])
    relay = relay_of(store, broker, clock, window=own)
    for _ in range(3):
        relay.step(0.0)
    assert relay.in_flight == len(broker.published) == expected


@pytest.mark.parametrize("code", [0x80, 0x83, 0x97])
def test_a_passing_refusal_is_tried_again(store: Database, broker: FakeBroker, clock: FakeClock, code: int) -> None:
    broker.connect()
    broker.codes = {"a": code}
    add(store, clock, "a", "b")
    relay = relay_of(store, broker, clock)
    relay.step(0.0)
    assert (rows(store)["a"].state, rows(store)["b"].state) == (OutboxState.PENDING, OutboxState.CONFIRMED)
    broker.codes = {}
    relay.step(0.0)
    assert rows(store)["a"].state is OutboxState.PENDING, "not at once"
    clock.advance(60)
    relay.step(0.0)
    assert rows(store)["a"].state is OutboxState.CONFIRMED


@pytest.mark.parametrize(("code", "kind"), [(0x87, "publish-refused"), (0x90, "publish-refused"), (0x95, "oversize")])
def test_a_lasting_refusal_is_put_aside_and_told(
    store: Database, broker: FakeBroker, clock: FakeClock, code: int, kind: str
) -> None:
    broker.connect()
    broker.codes = {"aaa": code}
    add(store, clock, "aaa")
    relay_of(store, broker, clock).step(0.0)
    assert rows(store)["aaa"].state is OutboxState.QUARANTINED
    (told,) = errors(store)
    assert f'"class":"{kind}"' in told.message.body.decode()


def test_a_refused_error_message_makes_no_other(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    broker.connect()
    broker.codes = {"": 0x87}
    add(store, clock, "a", topic=topics.ERROR)
    relay = relay_of(store, broker, clock)
    for _ in range(5):
        relay.step(0.0)
    assert [row.state for row in errors(store)] == [OutboxState.QUARANTINED]


def test_nobody_subscribes_is_no_delivery(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    broker.connect()
    broker.codes = {"": 0x10}
    add(store, clock, "needs a receipt", ack=Ack.RECEIPT)
    add(store, clock, "result")
    relay_of(store, broker, clock).step(0.0)
    assert rows(store)["needs a receipt"].state is OutboxState.SENT
    assert rows(store)["result"].state is OutboxState.CONFIRMED


def test_what_was_on_its_way_when_the_connection_broke_is_sent_again(
    store: Database, broker: FakeBroker, clock: FakeClock
) -> None:
    broker.connect()
    broker.answering = False
    add(store, clock, "a", "b")
    relay = relay_of(store, broker, clock)
    relay.step(0.0)
    broker.lose()
    broker.answering = True
    for _ in range(4):
        relay.step(0.0)
    assert sorted(broker.bodies()) == ["a", "a", "b", "b"]
    assert {row.state for row in rows(store).values()} == {OutboxState.CONFIRMED}


def test_an_answer_of_an_old_connection_confirms_nothing(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    broker.connect()
    broker.answering = False
    add(store, clock, "a")
    relay = relay_of(store, broker, clock)
    relay.step(0.0)
    broker.lose()
    relay.step(0.0)
    broker.pubacks.append(Puback(epoch=1, mid=2, code=0))
    relay.step(0.0)
    assert rows(store)["a"].state is OutboxState.PENDING


def test_a_lost_session_sends_what_has_no_receipt_again(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    broker.connect()
    add(store, clock, "a", ack=Ack.RECEIPT)
    relay = relay_of(store, broker, clock, receipt_retry_s=3600)
    relay.step(0.0)
    broker.lose(0x8B, and_return=False)
    broker.connect(session=False)
    relay.step(0.0)
    assert broker.bodies() == ["a", "a"]


def test_the_poisonous_one_is_put_aside_and_the_others_arrive(
    store: Database, broker: FakeBroker, clock: FakeClock
) -> None:
    """Every publish of "poison" ends the connection; what was sent after it in the same burst gets no answer."""
    broker.connect()
    add(store, clock, *[f"good {n}" for n in range(5)], "poison", *[f"good {n}" for n in range(5, 10)])
    relay = relay_of(store, broker, clock)
    broker.answering = False
    for _ in range(40):
        before = len(broker.published)
        relay.step(0.0)
        assert broker.limits is not None
        for mid in range(before + 1, len(broker.published) + 1):
            if broker.bodies()[mid - 1] == "poison":
                broker.lose(0x95)
                break
            broker.pubacks.append(Puback(epoch=broker.limits.epoch, mid=mid, code=0))
    states = {body: row.state for body, row in rows(store).items() if row.message.topic != topics.ERROR}
    assert states.pop("poison") is OutboxState.QUARANTINED
    assert set(states.values()) == {OutboxState.CONFIRMED}


@pytest.mark.parametrize(
    "bad",
    [
        {"correlation": "x" * 70_000},
        {"topic": "out/metric/+"},
        {"topic": "out/metric/#"},
        {"properties": {"a": "y" * 70_000}},
    ],
    ids=["long", "plus", "hash", "long property"],
)
def test_what_mqtt_has_no_packet_for_is_put_aside_alone(
    store: Database, broker: FakeBroker, clock: FakeClock, bad: dict[str, Any]
) -> None:
    broker.connect()
    add(store, clock, "a")
    with store.unit() as unit:
        unit.outbox.add(a_message(clock, body=b"bad", **bad))
        unit.commit()
    add(store, clock, "b")
    relay_of(store, broker, clock).step(0.0)
    assert {body: row.state for body, row in rows(store).items() if len(body) < 9} == {
        "a": OutboxState.CONFIRMED,
        "bad": OutboxState.QUARANTINED,
        "b": OutboxState.CONFIRMED,
    }
    assert len(errors(store)) == 1


def test_what_is_written_wakes_the_relay(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    broker.connect()
    relay = relay_of(store, broker, clock)
    sent: list[int] = []
    waiting = threading.Thread(target=lambda: sent.append(relay.step(120.0)))
    waiting.start()
    add(store, clock, "a")
    waiting.join(60.0)
    assert sent == [1], "it neither waited for its time to be over nor came back with nothing"


def test_an_order_overtakes_what_was_read_ahead(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    broker.connect(receive_maximum=10)
    add(store, clock, *[f"m{n}" for n in range(40)])
    broker.answering = False
    relay = relay_of(store, broker, clock, window=10)
    relay.step(0.0)
    with store.unit() as unit:
        unit.outbox.add(a_message(clock, lane=Lane.ORDERS, body=b"order", topic="out/wo/1/order"))
        unit.commit()
    assert broker.limits is not None
    broker.pubacks.extend(Puback(epoch=broker.limits.epoch, mid=mid, code=0) for mid in range(1, 6))
    relay.step(0.0)
    assert broker.bodies()[10:15] == ["order", "m10", "m11", "m12", "m13"]
    assert rows(store)["m4"].state is OutboxState.CONFIRMED


def test_the_pace_holds_everything_but_orders(store: Database, broker: FakeBroker, clock: FakeClock) -> None:
    broker.connect()
    add(store, clock, *[f"m{n}" for n in range(50)])
    with store.unit() as unit:
        for n in range(5):
            unit.outbox.add(a_message(clock, lane=Lane.ORDERS, body=b"order", topic=f"out/wo/{n}/order"))
        unit.commit()
    relay_of(store, broker, clock, drain_per_s=0.001).step(0.0)
    assert broker.bodies() == ["order"] * 5


def test_a_store_that_fails_while_booking_costs_no_message(
    store: Database, broker: FakeBroker, clock: FakeClock
) -> None:
    class Failing:
        """The store, with a disk that is full once."""

        def __init__(self) -> None:
            self.full = False
            self.reader = store.reader
            self.when_outgoing = store.when_outgoing

        def unit(self, *, durable: bool = True) -> Any:
            return FullDisk() if self.full else store.unit(durable=durable)

    class FullDisk:
        def __enter__(self) -> Any:
            raise Transient("disk full")

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...

    broker.connect()
    add(store, clock, "a")
    failing = Failing()
    relay = relay_of(failing, broker, clock)
    relay.step(0.0)
    add(store, clock, "b")
    failing.full = True
    with pytest.raises(Transient):
        relay.step(0.0)
    failing.full = False
    relay.step(0.0)
    assert broker.bodies() == ["a", "b"], "the answer is remembered, nothing is sent twice"
    assert {row.state for row in rows(store).values()} == {OutboxState.CONFIRMED}


def test_a_broker_that_never_answers_is_left(
    store: Database, broker: FakeBroker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_agent.adapters.link import relay as module

    broker.connect()
    broker.answering = False
    add(store, clock, "a")
    relay = relay_of(store, broker, clock)
    relay.step(0.0)
    later = module.time.monotonic() + 1_000
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    relay.step(0.0)
    assert broker.resets == ["no PUBACK"]
