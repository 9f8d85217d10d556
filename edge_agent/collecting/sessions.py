"""The workers' sessions at the broker: made before the boxes send, so that nothing goes nowhere."""

import threading
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.adapters.link.tls import TlsIdentity
from edge_agent.collecting.settings import CollectFile
from edge_agent.domain.faults import ConfigError, Transient

log = structlog.get_logger(__name__)

ANSWER_S = 15.0


def provision(settings: CollectFile, worker: str, password: str | None) -> bool:
    """Make (or keep) a worker's session with its subscription; True: it was there already.

    Not while that worker runs: two clients with one id end each other's connection.

    Raises:
        Transient: the broker does not answer.
        ConfigError: it refuses.
    """
    return _Visit(settings, worker, password).make()


def remove(settings: CollectFile, worker: str, password: str | None) -> None:
    """End a worker's session; what it still held is gone. Raises Transient, ConfigError."""
    _Visit(settings, worker, password, ends=True).make()


class _Visit:
    """One short connection under a worker's client id; what waits for the worker is not acknowledged."""

    def __init__(self, settings: CollectFile, worker: str, password: str | None, *, ends: bool = False) -> None:
        self._settings, self._ends = settings, ends
        self._done = threading.Event()
        self._problem = ""
        self._was_there = False
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id(worker),
            protocol=paho.MQTTv5,
            manual_ack=True,
        )
        if settings.mqtt.username is not None:
            self._client.username_pw_set(settings.mqtt.username, password)
        if settings.mqtt.tls is not None:
            self._client.tls_set_context(TlsIdentity(settings.mqtt.tls).context)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed

    def make(self) -> bool:
        """Connect, subscribe (or not), go; was there a session?"""
        mqtt = self._settings.mqtt
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0 if self._ends else int(mqtt.session_expiry_h * 3600)
        properties.ReceiveMaximum = 1
        try:
            self._client.connect(mqtt.host, mqtt.port, clean_start=self._ends, properties=properties)
        except OSError as error:
            raise Transient(f"the broker {mqtt.host}:{mqtt.port} cannot be reached: {error}") from error
        self._client.loop_start()
        try:
            if not self._done.wait(ANSWER_S):
                raise Transient(f"the broker {mqtt.host}:{mqtt.port} does not answer")
        finally:
            self._client.disconnect()
            self._client.loop_stop()
        if self._problem:
            raise ConfigError(f"the broker {mqtt.host}:{mqtt.port}: {self._problem}")
        return self._was_there

    def _connected(self, client: paho.Client, _u: Any, flags: paho.ConnectFlags, code: Any, _p: Any) -> None:
        if code.is_failure:
            self._problem = f"it refuses the connection: {code}"
            self._done.set()
            return
        self._was_there = flags.session_present
        if self._ends:
            self._done.set()
        else:
            client.subscribe([(self._settings.subscription, SubscribeOptions(qos=1))])

    def _subscribed(self, _c: Any, _u: Any, _mid: int, codes: list[Any], _p: Any) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        self._problem = f"it refuses {self._settings.subscription}: {', '.join(refused)}" if refused else ""
        self._done.set()
