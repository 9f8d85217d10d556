"""The line's controller: it asks the box about each part, waits for the answer, and rejects what is not answered."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.contract import topics as box
from edge_agent.domain.faults import Transient
from edge_agent.simulation.line import topics as plant
from edge_agent.simulation.process import Panel
from edge_agent.simulation.process.panel import Notice

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Ledger:
    """What was asked and what was answered. asked = answered + unanswered + open."""

    asked: int = 0
    answered: int = 0
    unanswered: int = 0
    late: int = 0
    dispositions: Counter[str] = field(default_factory=Counter)


class Plc:
    """MQTT side of the line: triggers out, results in; telemetry and log entries out.

    Attributes:
        window: parts that may wait for an answer; the belt stops beyond it.
        patience_s: a part without an answer after this long is rejected.
    """

    def __init__(self, client: mqtt.Client, *, topic_root: str, window: int = 4, patience_s: float = 5.0) -> None:
        self.ledger = Ledger()
        self.window = window
        self.patience_s = patience_s
        self._client = client
        self._root = topic_root
        self._open: dict[str, float] = {}
        self._given_up: set[str] = set()
        self._changed = threading.Condition()
        self._box_online = False
        self._refusal = ""
        client.on_connect = self._on_connect
        client.on_message = self._on_message

    def connect(self, host: str, port: int, timeout_s: float = 15.0) -> None:
        """Connect and wait for the broker's word.

        Raises:
            Transient: refused or not reachable.
        """
        try:
            self._client.connect(host, port, keepalive=20)
        except OSError as error:
            raise Transient(f"broker {host}:{port}: {error}") from error
        self._client.loop_start()
        deadline = time.monotonic() + timeout_s
        while not self._client.is_connected():
            if self._refusal or time.monotonic() > deadline:
                detail = self._refusal or f"no answer within {timeout_s:.0f} s"
                raise Transient(f"broker {host}:{port} did not accept the line's login: {detail}")
            time.sleep(0.02)

    def close(self) -> None:
        """Send what is queued and disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def await_box(self, timeout_s: float, stop: threading.Event) -> bool:
        """Wait until the box says that it is online; False when it did not in time, or the line was stopped."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._box_online and not stop.is_set() and time.monotonic() < deadline:
                self._changed.wait(0.2)
            return self._box_online

    def ask(self, panel: Panel, part_id: str) -> None:
        """Trigger the inspection of one part."""
        request = {
            "partId": part_id,
            "productId": panel.product_id,
            "triggerId": f"T-{part_id}",
            "lotId": panel.lot_id,
            "sequence": panel.number,
            "strata": dict(panel.strata),
            "at": _now(),
        }
        with self._changed:
            self._open[part_id] = time.monotonic()
            self.ledger.asked += 1
        self._publish(box.under(self._root, box.command("trigger")), request, qos=1)

    def await_room(self, stop: threading.Event) -> None:
        """Hold the belt while too many parts wait for their answer."""
        self._await(lambda: len(self._open) < self.window, stop)

    def await_answers(self) -> None:
        """Wait until each part has its answer or was given up: ``patience_s`` at most."""
        self._await(lambda: not self._open, threading.Event())

    def report(self, readings: Mapping[str, float]) -> None:
        """Publish readings as the historian does."""
        stamp = int(time.time() * 1000)
        for name, value in readings.items():
            self._publish(plant.signal(self._root, name), {"value": value, "timestamp_ms": stamp}, qos=0)

    def log_entry(self, notice: Notice) -> None:
        """Publish an entry of the line's log."""
        entry: dict[str, Any] = {"kind": notice.kind, "at": _now(), "subject": notice.subject}
        if notice.attributes:
            entry["attributes"] = dict(notice.attributes)
        self._publish(plant.events(self._root), entry, qos=1)

    def _await(self, ready: Callable[[], bool], stop: threading.Event) -> None:
        with self._changed:
            while not ready() and not stop.is_set():
                self._give_up_on_late_ones()
                if not ready():
                    self._changed.wait(0.2)

    def _give_up_on_late_ones(self) -> None:
        limit = time.monotonic() - self.patience_s
        for part_id in [part for part, asked_at in self._open.items() if asked_at < limit]:
            del self._open[part_id]
            self._given_up.add(part_id)
            self.ledger.unanswered += 1
            self.ledger.dispositions["REJECT (no answer)"] += 1
            log.warning("no answer from the box, part rejected", part=part_id, waited_s=self.patience_s)

    def _publish(self, topic: str, payload: Mapping[str, Any], *, qos: int) -> None:
        self._client.publish(topic, json.dumps(payload, separators=(",", ":")), qos=qos)

    def _on_connect(
        self, client: mqtt.Client, userdata: object, flags: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            return
        client.subscribe([(box.under(self._root, box.RESULT), 1), (box.under(self._root, box.STATE), 1)])

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        try:
            data = json.loads(message.payload)["data"]
        except (ValueError, KeyError, TypeError):
            return
        with self._changed:
            if message.topic.endswith(box.STATE):
                self._box_online = bool(data.get("online"))
            else:
                self._settle(str(data.get("unitId")), str(data.get("disposition")))
            self._changed.notify_all()

    def _settle(self, part_id: str, disposition: str) -> None:
        if self._open.pop(part_id, None) is not None:
            self.ledger.answered += 1
            self.ledger.dispositions[disposition] += 1
        elif part_id in self._given_up:
            self._given_up.discard(part_id)
            self.ledger.late += 1


def client(name: str, *, username: str | None, password: str | None) -> mqtt.Client:
    """An MQTT 5 client for the line."""
    made = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    if username:
        made.username_pw_set(username, password)
    return made


def _now() -> str:
    return datetime.now(UTC).isoformat()
