"""Follows the box over MQTT, as a dashboard of the plant would."""

import json
import queue
import time
from collections.abc import Iterator, Mapping
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.domain.faults import Transient

_HEARD = 10_000
"""Messages that may wait; a dashboard that is this far behind has other troubles."""


class Watcher:
    """Receives everything the box says and what it is answered; messages are taken by ``heard``."""

    def __init__(self, topic_root: str, *, username: str, password: str) -> None:
        self._root = topic_root
        self._queue: queue.Queue[tuple[str, Mapping[str, Any]]] = queue.Queue(_HEARD)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="demo-watcher", protocol=mqtt.MQTTv5)
        self._client.username_pw_set(username, password)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._subscribed = False

    def start(self, host: str, port: int, timeout_s: float = 10.0) -> None:
        """Connect and subscribe.

        Raises:
            Transient: the broker did not answer in time.
        """
        self._client.connect(host, port, keepalive=20)
        self._client.loop_start()
        deadline = time.monotonic() + timeout_s
        while not self._subscribed:
            if time.monotonic() > deadline:
                raise Transient(f"broker {host}:{port} did not answer the demo within {timeout_s:.0f} s")
            time.sleep(0.02)

    def heard(self, wait_s: float) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The messages that came within ``wait_s``: topic below the box's root, and the event."""
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                yield self._queue.get(timeout=left)
            except queue.Empty:
                return

    def stop(self) -> None:
        """Disconnect; safe to call twice."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: mqtt.Client, userdata: object, flags: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if not reason.is_failure:
            client.subscribe([(f"{self._root}/out/#", 1), (f"{self._root}/in/wo/+/response", 1)])
            self._subscribed = True

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        if not message.payload:
            return
        try:
            event = json.loads(message.payload)
            self._queue.put_nowait((message.topic.removeprefix(f"{self._root}/"), event))
        except (ValueError, queue.Full):
            return
