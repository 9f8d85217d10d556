"""One MQTT 5 connection that comes back by itself. Knows paho; knows nothing of outbox and inbox.

paho's own thread is not used: the loop here decides when and how to reconnect, keeps a bug in a callback from ending
the connection silently, and gives every connection a number (epoch) so that nothing of an old one is taken for the
new one's. Callbacks run with paho's locks held: they append to a deque and return.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.adapters.link.backoff import Backoff
from edge_agent.adapters.link.bulk import BulkClient
from edge_agent.adapters.link.packets import Parcel
from edge_agent.adapters.link.properties import PublishProperties
from edge_agent.adapters.link.tls import TlsIdentity, trouble
from edge_agent.config.plant import MqttSection
from edge_agent.domain.faults import Transient
from edge_agent.ports import Clock, LinkStatus

log = structlog.get_logger(__name__)

RECEIVE_MAXIMUM = 100
"""Messages the broker may have unacknowledged at us: the back-pressure on what comes in."""
LARGEST_PACKET = 1_048_576
"""Larger ones the broker drops; those between this and the agreed size arrive, and are refused with a message."""
WILL_DELAY_S = 10
POLL_S = 0.5
TLS_CHECK_S = 30.0
DEFAULT_RECEIVE_MAXIMUM = 65_535
AT_ONCE_S = 0.2
TAKEN_OVER = 0x8E
TAKE_OVERS = 3
"""So many within `TAKE_OVER_WITHIN_S` are another client with this box's client id, not a slow broker's echo."""
TAKE_OVER_WITHIN_S = 600.0
REFUSALS = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x9D})
"""CONNACK codes that do not go away by trying again soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A message from the broker, bound to the connection it came over."""

    epoch: int
    mid: int
    qos: int
    retain: bool
    topic: str
    body: bytes
    properties: Mapping[str, str]


class Puback(NamedTuple):
    """The broker's answer to one publish."""

    epoch: int
    mid: int
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the broker said in its CONNACK."""

    epoch: int
    receive_maximum: int
    packet_bytes: int | None
    session_present: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to publish, in MQTT's terms."""

    topic: str
    body: bytes
    qos: int = 1
    retain: bool = False
    content_type: str = ""
    correlation: str = ""
    response_topic: str = ""
    expiry_s: int | None = None
    user_properties: Iterable[tuple[str, str]] = ()


class Connection:
    """Keeps a paho client connected on a thread of its own.

    Attributes:
        pubacks: answers to `publish`, oldest first; the relay takes them out.
        changed: set when there is something to look at: a connection, a loss, ``wake_at`` PUBACKs.
        lost: (epoch, reason code) of connections that ended.
    """

    def __init__(
        self,
        options: MqttSection,
        *,
        client_id: str,
        password: str | None,
        clock: Clock,
        will: Callable[[], Outgoing],
        on_ready: Callable[[], None],
        on_message: Callable[[Arrived], bool],
        on_tick: Callable[[int], None] = lambda epoch: None,
    ) -> None:
        """Prepare; nothing is connected before `start`.

        Args:
            on_ready: runs on the network thread after CONNACK, outside paho's callbacks.
            on_message: runs in paho's callback; True acknowledges at once, else `acknowledge` does it later.
            on_tick: runs on the network thread, with the epoch, a few times in a second while connected.
        """
        self.pubacks: deque[Puback] = deque()
        self.lost: deque[tuple[int, int]] = deque(maxlen=100)
        self.changed = threading.Event()
        self.wake_at = 1
        self._options, self._clock = options, clock
        self._will, self._on_ready, self._on_message, self._on_tick = will, on_ready, on_message, on_tick
        self._probes: dict[int, Callable[[int | None], None]] = {}
        self._taken_over_s: deque[float] = deque(maxlen=TAKE_OVERS)
        self._tls = TlsIdentity(options.tls) if options.tls else None
        self._epoch, self._epoch_lock = 0, threading.Lock()
        self._limits: Limits | None = None
        self._greeting: tuple[int, bool, Properties | None] | None = None
        self._goodbye: int | None = None
        self._told = ""
        self._since: datetime | None = None
        self._last_puback_at: datetime | None = None
        self._connects = 0
        self._reset, self._at_once = "", False
        self._stopping = threading.Event()
        self._bug: Exception | None = None
        self._thread: threading.Thread | None = None
        self._client = self._make_client(client_id, password)

    # --- for other threads ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin connecting in the background; again after a `stop`, too.

        Raises:
            Transient: the thread of the run before has not ended yet.
        """
        if self._thread is not None and self._thread.is_alive():
            raise Transient("the network thread is still stopping")
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="mqtt-network", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Disconnect (the will is not sent then: say goodbye before) and end the thread."""
        self._stopping.set()
        self._client.disconnect()
        if self._thread is not None:
            self._thread.join(timeout_s)

    @property
    def limits(self) -> Limits | None:
        """What holds on the current connection; None while there is none."""
        return self._limits

    def raise_bug(self) -> None:
        """Raise what went wrong on the network thread, so that the supervisor sees it."""
        bug, self._bug = self._bug, None
        if bug is not None:
            raise bug
        if self._thread is not None and not self._thread.is_alive() and not self._stopping.is_set():
            raise RuntimeError("the network thread has ended")

    def status(self) -> LinkStatus:
        """For people and health checks."""
        return LinkStatus(
            connected=self._limits is not None,
            broker=f"{self._options.host}:{self._options.port}",
            since=self._since,
            detail=self._told,
            reconnects=max(0, self._connects - 1),
            last_puback_at=self._last_puback_at,
        )

    def publish(self, message: Outgoing, epoch: int) -> int | None:
        """Hand over for sending on this connection; its mid, or None when the connection is no longer that one."""
        with self._epoch_lock:
            if self._limits is None or self._epoch != epoch:
                return None
            info = self._client.publish(
                message.topic, message.body, message.qos, message.retain, properties=_publish_properties(message)
            )
        return int(info.mid) if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def probe(self, message: Outgoing, epoch: int, heard: Callable[[int | None], None]) -> None:
        """Publish to see what the broker says; on the network thread only.

        Args:
            heard: told the reason code of the PUBACK, or None should the connection end without one.
        """
        mid = self.publish(message, epoch)
        if mid is None:
            heard(None)
        else:
            self._probes[mid] = heard

    @property
    def taken_over(self) -> bool:
        """Has another client pushed this one out, again and again, not long ago?

        Not every broker's word (0x8E) arrives before its hanging up: short-lived connections in a row count as well.
        """
        often = list(self._taken_over_s)
        return len(often) == TAKE_OVERS and time.monotonic() - often[0] < TAKE_OVER_WITHIN_S

    def send(self, parcels: Sequence[Parcel], epoch: int) -> list[int]:
        """Hand over for sending on this connection, all in one; their mids, none when it is no longer that one.

        One thread only. The answers come as `pubacks`.
        """
        with self._epoch_lock:
            if self._limits is None or self._epoch != epoch:
                return []
            return self._client.send_parcels(parcels)

    def acknowledge(self, arrived: Arrived) -> None:
        """Tell the broker that this message is safe; nothing happens when its connection is gone."""
        if arrived.qos == 0:
            return
        with self._epoch_lock:
            if arrived.epoch == self._epoch:
                self._client.ack(arrived.mid, arrived.qos)

    def subscribe(self, filters: Iterable[tuple[str, int]]) -> None:
        """Subscribe on the current connection."""
        wanted = [(topic_filter, SubscribeOptions(qos=qos)) for topic_filter, qos in filters]
        if wanted:
            self._client.subscribe(wanted)

    def reset(self, why: str, *, at_once: bool = False) -> None:
        """Drop the connection and make a new one.

        Args:
            at_once: nothing is wrong with the broker, so it is not spared.
        """
        self._reset, self._at_once = why, at_once
        sock: Any = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    # --- the network thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            wait_s = 1.0
            try:
                wait_s = self._one_connection(backoff)
            except Exception as error:  # handed to the supervisor in raise_bug; the thread must go on
                log.exception("a bug on the network thread")
                self._bug = error
                self._leave(0x80)
            self._stopping.wait(wait_s)

    def _one_connection(self, backoff: Backoff) -> float:
        """Connect, serve until it ends; seconds to wait before the next."""
        self._begin()
        try:
            self._client.reconnect()
        except ssl.SSLError as error:
            self._tell(trouble(error))
            self._leave(0x88)
            return backoff.after_failure()
        except OSError as error:
            self._tell("the broker cannot be reached", error=str(error))
            self._leave(0x88)
            return backoff.after_failure()
        up_at = self._serve()
        code = self._goodbye if self._goodbye is not None else 0x80
        self._leave(code)
        if self._stopping.is_set():
            return 0.0
        return self._wait_after(backoff, code, up_at)

    def _begin(self) -> None:
        with self._epoch_lock:
            self._epoch += 1
            self._client.drop_out_messages()
        self._greeting, self._goodbye, self._reset, self._at_once = None, None, "", False
        if self._tls is not None:
            self._tls.renew()
        will = self._will()
        properties = _properties(PacketTypes.WILLMESSAGE)
        properties.WillDelayInterval = WILL_DELAY_S
        properties.ContentType = will.content_type
        self._client.will_set(will.topic, will.body, qos=1, retain=True, properties=properties)

    def _serve(self) -> float | None:
        """Run the loop until the connection ends; when it came up (monotonic seconds), None if it never did."""
        up_at: float | None = None
        next_tls_check = time.monotonic() + TLS_CHECK_S
        while self._client.loop(POLL_S) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if self._greeting is not None and up_at is None:
                up_at = time.monotonic()
                self._greet(*self._greeting)
            if self._limits is not None:
                self._on_tick(self._epoch)
            if self._tls is not None and time.monotonic() >= next_tls_check:
                next_tls_check += TLS_CHECK_S
                if self._tls.renew():
                    log.info("certificate renewed, connecting again")
                    self.reset("certificate renewed")
        return up_at

    def _greet(self, code: int, session_present: bool, properties: Properties | None) -> None:
        if code != 0:
            return
        receive_maximum = int(getattr(properties, "ReceiveMaximum", DEFAULT_RECEIVE_MAXIMUM))
        packet_bytes = getattr(properties, "MaximumPacketSize", None)
        self._connects += 1
        self._since = self._clock.now()
        self._told = ""
        log.info("connected to the broker", broker=self._options.host, port=self._options.port, session=session_present)
        self._limits = Limits(
            epoch=self._epoch,
            receive_maximum=receive_maximum,
            packet_bytes=int(packet_bytes) if packet_bytes is not None else None,
            session_present=session_present,
        )
        self._on_ready()
        self.changed.set()

    def _leave(self, code: int) -> None:
        was_up = self._limits is not None
        self._limits = None
        probes, self._probes = self._probes, {}
        for heard in probes.values():
            heard(None)
        if was_up:
            self._since = self._clock.now()
            self.lost.append((self._epoch, code))
            if not self._stopping.is_set():
                self._tell("the broker went away", code=f"0x{code:02x}", reason=self._reset or _code_text(code))
        self.changed.set()

    def _wait_after(self, backoff: Backoff, code: int, up_at: float | None) -> float:
        if up_at is not None and self._at_once:
            return AT_ONCE_S
        if up_at is not None:
            wait_s = backoff.after_loss(time.monotonic() - up_at)
            if code == TAKEN_OVER or backoff.flapping:
                self._taken_over_s.append(time.monotonic())
                self._tell("the connection is ended again and again; does another client use this box's client id?")
            return wait_s
        if code in REFUSALS:
            self._tell("the broker refused this box; check user name, password, certificate and access rules")
            return backoff.after_refusal()
        self._tell("the broker ended the connection before it was up", reason=_code_text(code))
        return backoff.after_failure()

    def _tell(self, sentence: str, **fields: str) -> None:
        """Log once for each kind of trouble, not at every attempt; a stable connection would tell it again."""
        if sentence != self._told:
            log.warning(sentence, broker=self._options.host, port=self._options.port, **fields)
        self._told = sentence

    # --- paho's callbacks: append and return ------------------------------------------------------------------------

    def _make_client(self, client_id: str, password: str | None) -> BulkClient:
        options = self._options
        client = BulkClient(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5,
            manual_ack=True,
            on_own_pubacks=self._own_published,
        )
        client.max_inflight_messages_set(0)
        if options.username is not None:
            client.username_pw_set(options.username, password)
        if self._tls is not None:
            client.tls_set_context(self._tls.context)
        client.on_socket_open = _no_delay
        client.on_socket_register_write = _leave_writing_to_the_loop
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        client.connect_async(
            options.host,
            options.port,
            keepalive=options.keepalive_s,
            clean_start=False,
            properties=_connect_properties(options),
        )
        return client

    def _connected(self, _c: Any, _u: Any, flags: paho.ConnectFlags, code: ReasonCode, properties: Any) -> None:
        if code.is_failure:
            self._goodbye = code.value
        self._greeting = (code.value, flags.session_present, properties)

    def _disconnected(self, _c: Any, _u: Any, flags: paho.DisconnectFlags, code: ReasonCode, _p: Any) -> None:
        if self._goodbye is None:
            self._goodbye = code.value

    def _published(self, _c: Any, _u: Any, mid: int, code: ReasonCode, _p: Any) -> None:
        heard = self._probes.pop(mid, None)
        if heard is not None:
            heard(code.value)
            return
        self.pubacks.append(Puback(epoch=self._epoch, mid=mid, code=code.value))
        self._last_puback_at = self._clock.now()
        if len(self.pubacks) >= self.wake_at:
            self.changed.set()

    def _own_published(self, pubacks: Sequence[tuple[int, int]]) -> None:
        """Not a callback of paho's: no lock is held."""
        epoch = self._epoch
        self.pubacks.extend(Puback(epoch, mid, code) for mid, code in pubacks)
        self._last_puback_at = self._clock.now()
        if len(self.pubacks) >= self.wake_at:
            self.changed.set()

    def _subscribed(self, _c: Any, _u: Any, _mid: int, codes: list[ReasonCode], _p: Any) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        if refused:
            log.error("the broker refused a subscription", reasons=refused)

    def _received(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        arrived = Arrived(
            epoch=self._epoch,
            mid=message.mid,
            qos=message.qos,
            retain=message.retain,
            topic=message.topic,
            body=bytes(message.payload),
            properties=_read_properties(message),
        )
        if self._on_message(arrived) and arrived.qos > 0:
            self._client.ack(arrived.mid, arrived.qos)


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]


def _connect_properties(options: MqttSection) -> Properties:
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = int(options.session_expiry_h * 3600)
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    properties.MaximumPacketSize = LARGEST_PACKET
    return properties


def _publish_properties(message: Outgoing) -> Properties:
    return PublishProperties(
        content_type=message.content_type,
        correlation=message.correlation,
        response_topic=message.response_topic,
        expiry_s=message.expiry_s,
        user_properties=message.user_properties,
    )


def _read_properties(message: paho.MQTTMessage) -> dict[str, str]:
    """User properties as they are, MQTT's own under ``mqtt.``."""
    found: dict[str, str] = {}
    properties = message.properties
    if properties is not None:
        own = getattr(properties, "UserProperty", ())
        found.update((name, value) for name, value in own if not name.startswith("mqtt."))
        for name, key in (("ContentType", "mqtt.content_type"), ("ResponseTopic", "mqtt.response_topic")):
            value = getattr(properties, name, None)
            if value:
                found[key] = value
        expiry_s = getattr(properties, "MessageExpiryInterval", None)
        if expiry_s is not None:
            found["mqtt.expiry_s"] = str(expiry_s)
        correlation = getattr(properties, "CorrelationData", None)
        if correlation:
            found["mqtt.correlation"] = bytes(correlation).decode(errors="replace")
    if message.retain:
        found["mqtt.retain"] = "1"
    return found


def _no_delay(_client: Any, _userdata: Any, sock: Any) -> None:
    """Without it, Nagle's algorithm and delayed ACKs hold every burst for 40 ms."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _leave_writing_to_the_loop(_client: Any, _userdata: Any, _sock: Any) -> None:
    """Having this callback keeps paho from writing to the socket on the publishing thread."""


def _code_text(code: int) -> str:
    return {
        0x00: "closed",
        0x80: "connection lost",
        0x82: "protocol error",
        0x86: "bad user name or password",
        0x87: "not authorized",
        0x88: "server unavailable",
        0x8B: "server shutting down",
        0x8D: "keep-alive timeout",
        0x8E: "session taken over",
        0x93: "receive maximum exceeded",
        0x95: "packet too large",
        0x97: "quota exceeded",
        0x98: "administrative action",
    }.get(code, f"0x{code:02x}")
