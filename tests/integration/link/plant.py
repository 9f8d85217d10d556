"""A plant for the link's tests: a real broker, a real store, a link with its relay running, a foreign client."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.link.inbox import InboxHandlers
from edge_agent.adapters.link.mqtt import MqttLink
from edge_agent.adapters.store.database import Database
from edge_agent.config.plant import MqttSection
from edge_agent.contract import outbound, payloads, topics
from edge_agent.contract.envelope import Sender
from edge_agent.domain.message import Ack, InboundMessage, Lane, OutboundMessage, OutboxState
from edge_agent.simulation.broker import Broker

AGENT = "box-1"
ROOT = topics.topic_root(enterprise="acme", site="north", area="smt", line="l1", cell="c1", agent=AGENT)
MES_STATE = topics.mes_state(enterprise="acme", site="north")
SENDER = Sender(agent=AGENT, topic_root=ROOT, uri_base="http://box-1", software_version="0")
CLOCK = SystemClock()


def until(condition: Callable[[], Any], what: str, timeout_s: float = 15.0) -> Any:
    """Poll until the condition holds; its value."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what}")


def options(broker: Broker, **changes: Any) -> MqttSection:
    return MqttSection(
        **{"host": broker.host, "port": broker.port, "username": "agent", "receipt_retry_s": 1.0, **changes}
    )


def message(number: int, *, ack: Ack = Ack.RECEIPT, lane: Lane = Lane.FINDINGS, body: bytes | None = None, **more: Any):
    """A row for the outbox: a real CloudEvent whose body holds its number."""
    event_id = CLOCK.new_id()
    made = body if body is not None else json.dumps({"id": str(event_id), "n": number}).encode()
    return OutboundMessage(
        message_id=event_id,
        topic=more.pop("topic", topics.DEFECT),
        body=made,
        lane=lane,
        ack=ack,
        created_at=CLOCK.now(),
        **more,
    )


class Box:
    """The agent's side: store, link, and a thread that relays as the worker does."""

    def __init__(
        self,
        broker: Broker,
        folder: Path,
        *,
        password: str | None = None,
        heard: Callable[[InboundMessage], None] = lambda message: None,
        **changes: Any,
    ) -> None:
        """Args: ``heard`` is told of every job response, after the box's own handler."""
        folder.mkdir(parents=True, exist_ok=True)
        self.store = Database(f"sqlite:///{folder / 'box.sqlite3'}", clock=CLOCK)
        self.store.migrate()
        self.link = MqttLink(
            options(broker, **changes),
            agent=AGENT,
            topic_root=ROOT,
            store=self.store,
            clock=CLOCK,
            state_body=state_body,
            password=password or broker.passwords["agent"],
        )
        self.handlers = InboxHandlers(self.store, CLOCK, SENDER)
        self.link.subscribe(topics.under(ROOT, topics.RESPONSES), self.handlers.on_response)
        self.link.subscribe(topics.under(ROOT, topics.RESPONSES), heard)
        self.link.subscribe(topics.under(ROOT, topics.RECEIPT), self.handlers.on_receipt)
        self.link.subscribe(MES_STATE, self.handlers.on_mes_state)
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._worker = threading.Thread(target=self._relay, daemon=True)

    def start(self, *, connected: bool = True) -> "Box":
        self.link.start()
        self._worker.start()
        if connected:
            until(lambda: self.link.status().last_puback_at, "the birth is answered, so the subscriptions are too")
        return self

    def stop(self) -> None:
        self._stop.set()
        self._worker.join(5)
        self.link.stop(3.0)
        self.store.close()

    def add(self, *messages: OutboundMessage) -> list[int]:
        with self.store.unit() as unit:
            sequences = [unit.outbox.add(each) for each in messages]
            unit.commit()
        return sequences

    def counts(self) -> dict[OutboxState, int]:
        with self.store.reader() as reader:
            return dict(reader.outbox.counts())

    def errors_out(self) -> list[dict[str, Any]]:
        """What was written for ``out/error``, newest first."""
        with self.store.reader() as reader:
            rows = [row for row in reader.outbox.rows(limit=1000) if row.message.topic == topics.ERROR]
        return [json.loads(row.message.body)["data"] for row in rows]

    def inbox(self) -> list[Any]:
        with self.store.reader() as reader:
            return [each for _, each in reader.inbox.unprocessed(1000)]

    def _relay(self) -> None:
        while not self._stop.is_set():
            try:
                self.link.relay(0.1)
            except BaseException as error:
                self.errors.append(error)
                raise


@contextmanager
def box(broker: Broker, folder: Path, *, connected: bool = True, **changes: Any) -> Iterator[Box]:
    made = Box(broker, folder, **changes)
    try:
        yield made.start(connected=connected)
    finally:
        made.stop()
    assert not made.errors


class Mes:
    """A foreign client: everything it got, and a way to send."""

    def __init__(self, broker: Broker, *filters: str, client_id: str = "mes", receipts: bool = False) -> None:
        self.got: list[paho.MQTTMessage] = []
        self._filters = [(each, 1) for each in (filters or (f"{ROOT}/out/#",))]
        self._receipts = receipts
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        self.client.username_pw_set("mes", broker.passwords["mes"])
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self._received
        self.client.reconnect_delay_set(0.1, 0.5)
        self.ready = threading.Event()
        expiry = Properties(PacketTypes.CONNECT)
        expiry.SessionExpiryInterval = 3600
        self.client.connect_async(broker.host, broker.port, keepalive=10, clean_start=False, properties=expiry)
        self.client.loop_start()
        assert self.ready.wait(10)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def on(self, topic: str) -> list[paho.MQTTMessage]:
        """Messages on a topic below the box's root."""
        return [each for each in list(self.got) if each.topic == f"{ROOT}/{topic}"]

    def numbers(self) -> list[int]:
        return [json.loads(each.payload)["n"] for each in self.on(topics.DEFECT)]

    def send(self, topic: str, body: Any, *, retain: bool = False, root: str = ROOT) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.client.publish(f"{root}/{topic}" if root else topic, raw, 1, retain)

    def confirm(self, ids: list[str]) -> None:
        self.send(topics.RECEIPT, event({"ids": ids, "status": "received"}))

    def _connected(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(self._filters)

    def _received(self, _client: Any, _userdata: Any, got: paho.MQTTMessage) -> None:
        self.got.append(got)
        if self._receipts and got.topic == f"{ROOT}/{topics.DEFECT}":
            self.confirm([json.loads(got.payload)["id"]])


@contextmanager
def mes(broker: Broker, *filters: str, **more: Any) -> Iterator[Mes]:
    made = Mes(broker, *filters, **more)
    try:
        yield made
    finally:
        made.stop()


def event(data: dict[str, Any], *, event_id: str | None = None, source: str = "urn:mes:1") -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id or str(CLOCK.new_id()),
        "source": source,
        "type": "org.mes.event",
        "data": data,
    }


def response(order_id: UUID, **more: Any) -> dict[str, Any]:
    return {"responseId": str(CLOCK.new_id()), "jobOrderId": str(order_id), "rev": 1, "event": "accepted", **more}


def state_body(online: bool) -> bytes:
    return outbound.state(payloads.State(online=online, session_id="s-1"), sender=SENDER, clock=CLOCK)


def soon(seconds: float) -> Any:
    return CLOCK.now() + timedelta(seconds=seconds)
