"""The MES' own MQTT client: a durable session, acknowledged by hand after what came is on disk."""

import contextlib
import json
import queue
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SESSION_S = 7 * 24 * 3600
BATCH = 500
TOPICS = ("out/wo/+/order", "out/wo/+/response-ack", "out/result", "out/defect", "out/rca/+", "out/report/+")
"""What is subscribed to below each box, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it came. ``connection`` numbers the connection: an acknowledgement on another one is void."""

    connection: int
    mid: int
    topic: str
    body: bytes


class Wire:
    """Sends and receives. The network thread only puts letters into a queue.

    Args:
        root_filter: the boxes' topic root, with ``+`` where any will do: ``acme/north/+/+/+/_inspect/v1/+``.
        consumer: who says on the site's ``_mes/v1/state`` that it is there.
        tls: None: without.

    Attributes:
        up: set while connected.
        refused: what the broker said when it did not let us in; empty otherwise.
        state_topic: where we say that we are there; None while the filter leaves the site open.
    """

    def __init__(
        self,
        *,
        client_id: str,
        root_filter: str,
        username: str | None,
        password: str | None,
        consumer: str = "mes",
        topics: Sequence[str] = TOPICS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.state_topic = _state_topic(root_filter)
        self._consumer = consumer
        self._filters = [(f"{root_filter}/{topic}", 1) for topic in topics]
        self._letters: queue.Queue[Letter] = queue.Queue(10_000)
        self._connection = 0
        self.up = threading.Event()
        self.refused = ""
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=True
        )
        if username is not None:
            self._client.username_pw_set(username, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._failed
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._received
        self._client.max_inflight_messages_set(0)
        self._client.reconnect_delay_set(1, 15)
        if self.state_topic is not None:
            self._client.will_set(self.state_topic, self._state(False), 1, True)

    def start(self, host: str, port: int) -> None:
        """Connect in the background, for ever."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_S
        properties.ReceiveMaximum = 1_000
        self._client.connect_async(host, port, keepalive=20, clean_start=False, properties=properties)
        self._client.loop_start()

    def stop(self) -> None:
        """Say offline and go."""
        if self._client.is_connected() and self.state_topic is not None:
            with contextlib.suppress(RuntimeError, ValueError):
                self._client.publish(self.state_topic, self._state(False), 1, True).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def letters(self, wait_s: float) -> list[Letter]:
        """What has come in, oldest first; waits a little for the first one."""
        found: list[Letter] = []
        try:
            found.append(self._letters.get(timeout=wait_s))
            while len(found) < BATCH:
                found.append(self._letters.get_nowait())
        except queue.Empty:
            pass
        return found

    def acknowledge(self, letters: Sequence[Letter]) -> None:
        """Tell the broker that they are safe."""
        for letter in letters:
            if letter.connection == self._connection:
                self._client.ack(letter.mid, 1)

    def send(self, topic: str, body: bytes) -> paho.MQTTMessageInfo:
        """Publish with QoS 1; look at ``is_published`` later."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = "application/cloudevents+json"
        return self._client.publish(topic, body, 1, properties=properties)

    def _connected(self, client: paho.Client, _u: Any, _f: Any, code: Any, _p: Any) -> None:
        if code.is_failure:
            self.refused = str(code)
            return
        self.refused = ""
        self._connection += 1
        client.subscribe(list(self._filters))
        if self.state_topic is not None:
            client.publish(self.state_topic, self._state(True), 1, True)
        self.up.set()

    def _failed(self, *_: Any) -> None:
        self.refused = "no answer at this address"

    def _disconnected(self, *_: Any) -> None:
        self.up.clear()

    def _received(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        with contextlib.suppress(queue.Full):  # unacknowledged: it comes again
            self._letters.put_nowait(Letter(self._connection, message.mid, message.topic, bytes(message.payload)))

    def _state(self, online: bool) -> bytes:
        return json.dumps({"online": online, "consumer": self._consumer}).encode()


def _state_topic(root_filter: str) -> str | None:
    enterprise, _, rest = root_filter.partition("/")
    site = rest.partition("/")[0]
    return None if {enterprise, site} & {"+", "#", ""} else f"{enterprise}/{site}/_mes/v1/state"
