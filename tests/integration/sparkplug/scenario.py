"""A day of a Sparkplug edge node, tapped on the wire; `played` runs it once, the tests look at what was recorded.

The real output, a real store, a real broker, and a host that comes and goes.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.link.sparkplug import SparkplugOut
from edge_agent.adapters.store.database import Database
from edge_agent.config.plant import MqttSection, SparkplugSection
from edge_agent.contract.sparkplug import topic
from edge_agent.contract.sparkplug.payload import DataType, Metric, Payload, decode, encode
from edge_agent.domain.faults import Transient
from edge_agent.domain.inspection import Evaluation
from edge_agent.observability.health import ComponentHealth, Condition
from edge_agent.simulation.broker import Broker
from tests.fakes.made import an_inspection
from tests.peers.mqtt_tap import CONNECT, DISCONNECT, PUBLISH, SUBSCRIBE, Packet, Tap

CLOCK = SystemClock()
GROUP, NODE, HOST = "Werk Süd", "box-1", "scada"
STATIONS = ("aoi-1", "aoi-2")
REBIRTH = encode(
    Payload(timestamp_ms=1, metrics=(Metric(name="Node Control/Rebirth", datatype=DataType.BOOLEAN, value=True),))
)
OTHER = encode(
    Payload(timestamp_ms=1, metrics=(Metric(name="Node Control/Reboot", datatype=DataType.BOOLEAN, value=True),))
)
PARTS = 270
"""More than the sequence has numbers."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A publication of the edge node, read."""

    connection: int
    phase: str
    at: float
    verb: str
    device: str
    topic: str
    qos: int
    retain: bool
    body: bytes
    payload: Payload


@dataclass(kw_only=True)
class Session:
    """What was recorded, connection by connection."""

    connections: list[list[Packet]]
    most_open: int
    host_heard: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def connects(self) -> list[dict[str, Any]]:
        """Each CONNECT."""
        return [one[0].says for one in self.connections if one and one[0].kind == CONNECT]

    @property
    def subscriptions(self) -> list[dict[str, int]]:
        """Filter to QoS, for each connection."""
        made = []
        for one in self.connections:
            made.append({f: q for packet in one if packet.kind == SUBSCRIBE for f, q in packet.says["filters"].items()})
        return made

    @property
    def goodbyes(self) -> list[int | None]:
        """The reason code of each DISCONNECT; None where there was none."""
        return [next((p.says["reason"] for p in one if p.kind == DISCONNECT), None) for one in self.connections]

    def messages(self, *verbs: str, phase: str = "", connection: int | None = None) -> list[Message]:
        """Publications in the order of the wire."""
        return [
            one
            for one in self.all_messages
            if (not verbs or one.verb in verbs)
            and (not phase or one.phase == phase)
            and connection in (None, one.connection)
        ]

    @cached_property
    def all_messages(self) -> list[Message]:
        """All publications, read once."""
        found = []
        for number, packets in enumerate(self.connections):
            note = ""
            for packet in packets:
                note = packet.says["note"] if packet.kind == 0 else note
                if packet.kind == PUBLISH:
                    found.append(_message(number, note, packet))
        return found


def _message(connection: int, phase: str, packet: Packet) -> Message:
    at = topic.parse(packet.says["topic"])
    payload = decode(packet.says["body"])
    more = {"connection": connection, "phase": phase, "at": packet.at, "payload": payload}
    return Message(verb=at.verb, device=at.device, **more, **packet.says)


class Box:
    """The box: a store that fills, a health board, and the worker in a thread, as the supervisor would run it."""

    def __init__(self, folder: Path, broker: Broker, port: int, **section: Any) -> None:
        self.store = Database(f"sqlite:///{folder / 'box.sqlite3'}", clock=CLOCK)
        self.store.migrate()
        self.conditions: dict[str, Condition] = {"broker": Condition.OK}
        self.told: list[tuple[Condition, str]] = []
        self._made: dict[str, Any] = {"group": GROUP, "edge_node": NODE} | section
        self._mqtt = MqttSection(host="127.0.0.1", port=port, username="agent", keepalive_s=5)
        self._password = broker.passwords["agent"]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.failed: list[BaseException] = []

    def start(self) -> "Box":
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
        assert not self.failed, self.failed

    def inspect(self, station: str = "aoi-1", *, count: int = 1, good: bool = True) -> None:
        with self.store.unit(durable=False) as unit:
            for _ in range(count):
                judged = Evaluation.OK if good else Evaluation.NOT_OK
                codes = () if good else ("open", "short")
                unit.inspections.add(an_inspection(CLOCK, station_id=station, codes=codes, evaluation=judged))
            unit.commit()

    def board(self) -> list[ComponentHealth]:
        return [
            ComponentHealth(component=name, condition=condition, detail="", since=CLOCK.now())
            for name, condition in list(self.conditions.items())
        ]

    def _run(self) -> None:
        worker = SparkplugOut(
            SparkplugSection.model_validate(self._made),
            self._mqtt,
            agent=NODE,
            version="1.2.3",
            stations=STATIONS,
            store=self.store,
            clock=CLOCK,
            board=self.board,
            report=lambda condition, detail: self.told.append((condition, detail)),
            password=self._password,
        )
        try:
            worker.setup()
            while not self._stop.is_set():
                try:
                    worker.step()
                except Transient:
                    time.sleep(0.05)
            worker.teardown()
        except BaseException as error:  # noqa: BLE001  shown by `stop`
            self.failed.append(error)


class Host:
    """A SCADA host, as little of one as the scenario needs."""

    def __init__(self, broker: Broker) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="scada", protocol=paho.MQTTv5)
        self.client.username_pw_set("mes", broker.passwords["mes"])
        ready = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe(f"spBv1.0/{GROUP}/#", 1)
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = lambda _c, _u, got: self.heard.append((got.topic, bytes(got.payload)))
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        assert ready.wait(10)

    def state(self, online: bool, timestamp_ms: int, host: str = HOST) -> None:
        body = json.dumps({"online": online, "timestamp": timestamp_ms})
        self.client.publish(f"spBv1.0/STATE/{host}", body, 1, retain=True).wait_for_publish(5)

    def command(self, body: bytes) -> None:
        self.client.publish(f"spBv1.0/{GROUP}/NCMD/{NODE}", body, 0).wait_for_publish(5)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def plant(folder: Path, **section: Any) -> Iterator[tuple[Box, Host, Tap, Broker]]:
    """Broker, tap, host, and a box that is not started yet."""
    with Broker(folder / "broker") as broker:
        tap = Tap(broker.host, broker.port)
        host = Host(broker)
        box = Box(folder, broker, tap.port, **section)
        try:
            yield box, host, tap, broker
        finally:
            box.stop()
            host.close()
            tap.close()
            box.store.close()


def played(folder: Path) -> Session:
    """The scenario; it takes some seconds."""
    with plant(folder, primary_host=HOST) as (box, host, tap, _):

        def count(*verbs: str) -> int:
            return sum(each["topic"].split("/")[2] in verbs for each in tap.published())

        def phase(note: str) -> None:
            tap.mark(note)

        def quiet(note: str) -> None:
            """Nothing may happen for a moment: the phase's list of messages is looked at by a test."""
            phase(note)

        # The host is not there, another one is, and what the right one said is old or not "online".
        box.inspect("aoi-2", count=2, good=False)
        box.start()
        tap.until(lambda: len(tap.connections) == 1 and len(tap.connections[0]) >= 2, "the first subscription")
        quiet("waiting")
        host.state(True, 9_000, host="other")
        host.state(False, 1_000)
        host.state(True, 500)
        time.sleep(0.6)
        phase("first birth")
        host.state(True, 2_000)
        tap.until(lambda: count("DBIRTH") == 2, "the first births")
        tap.until(lambda: count("DDATA") == 2, "the history of before the birth")

        phase("live")
        box.inspect("aoi-1", count=PARTS)
        tap.until(lambda: count("DDATA") == 2 + PARTS, "data of all parts")
        box.conditions["store"] = Condition.DEGRADED
        tap.until(lambda: count("NDATA") >= 1, "the node's own data")

        phase("idle")
        time.sleep(1.3)

        phase("other command")
        host.command(OTHER)
        host.command(b"\xff\xff\xff")
        time.sleep(0.4)
        phase("rebirth")
        host.command(REBIRTH)
        tap.until(lambda: count("DBIRTH") == 4, "births again")
        box.inspect("aoi-1", good=False)
        tap.until(lambda: count("DDATA") == 3 + PARTS, "data after the rebirth")

        phase("camera away")
        box.conditions["camera:aoi-2"] = Condition.DOWN
        tap.until(lambda: count("DDEATH") == 1, "the device's death")
        box.inspect("aoi-2")
        time.sleep(0.4)
        phase("camera back")
        box.conditions["camera:aoi-2"] = Condition.OK
        tap.until(lambda: count("DBIRTH") == 5, "the device's birth")

        # An old "offline" is not heeded, a new one is.
        quiet("old offline")
        host.state(False, 1_500)
        time.sleep(0.4)
        phase("host offline")
        host.state(False, 3_000)
        tap.until(lambda: len(tap.connections) == 2 and len(tap.connections[1]) >= 2, "the second connection")
        quiet("host away")
        box.inspect("aoi-1", count=3)
        time.sleep(0.5)
        phase("second birth")
        host.state(True, 4_000)
        tap.until(lambda: count("DBIRTH") == 7, "births for the host that is back")
        tap.until(lambda: count("DDATA") == 6 + PARTS, "history")
        box.inspect("aoi-1")
        tap.until(lambda: count("DDATA") == 7 + PARTS, "live data behind the history")

        phase("stop")
        box.stop()
        box.start()
        tap.until(lambda: count("DBIRTH") == 9, "births after a restart")
        box.stop()
        return Session(connections=tap.connections, most_open=tap.most_open, host_heard=host.heard)
