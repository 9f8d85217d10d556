"""Sparkplug B out: the box as an edge node, each station as a device, on a connection of its own.

The specification wants a clean start and no session, so this cannot share the durable connection; and its data goes out
with QoS 0, so it is for looking at, never for work orders. What is shown comes from the store: inspections that were
recorded while the broker or the primary host was away are sent later as historical values, from the store itself. There
is no second buffer. One thread does everything (`SparkplugOut.step`): paho's loop, the births, the data.
"""

import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.adapters.link.backoff import Backoff
from edge_agent.adapters.link.tls import TlsIdentity
from edge_agent.config.plant import MqttSection, SparkplugSection
from edge_agent.contract.sparkplug.edge_node import NODE, Asked, EdgeNode, Publication
from edge_agent.contract.sparkplug.station_tags import NODE_TAGS, STATION_TAGS, Totals, station_values
from edge_agent.contract.sparkplug.wire import SparkplugError
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.message import OutboxState
from edge_agent.observability.health import ComponentHealth, Condition
from edge_agent.ports import Clock, Store

log = structlog.get_logger(__name__)

LOOP_S = 0.1
BATCH = 500
"""Inspections read at once."""
HISTORY_STEP = 50
"""Historical inspections sent in one step, so that live ones come through in between."""
SAVE_S = 1.0
LOOK_S = 1.0
"""How often health and outbox are looked at."""
FAREWELL_S = 1.0
CONNECT_S = 10.0
"""From TCP to the answered subscription."""
FACT = "sparkplug"
REFUSED = "the broker refused this box; check user name, password, certificate and access rules"
_DISCONNECT_WITH_WILL = 0x04
_MAX_INBOX = 100


class SparkplugOut:
    """A worker (``ports.Worker``)."""

    def __init__(
        self,
        section: SparkplugSection,
        mqtt: MqttSection,
        *,
        agent: str,
        version: str,
        stations: Iterable[str],
        store: Store,
        clock: Clock,
        board: Callable[[], list[ComponentHealth]],
        report: Callable[[Condition, str], object] = lambda _condition, _detail: None,
        password: str | None = None,
    ) -> None:
        """Args:
        board: the conditions of the box; a station whose camera is down is a device that is lost.
        report: is told how this output is doing.

        Raises:
            ConfigError: TLS files that cannot be used.
        """
        self._section, self._mqtt = section, mqtt
        self._agent, self._version = agent, version
        self._stations = tuple(stations)
        self._store, self._clock, self._board, self._report = store, clock, board, report
        self._tls = TlsIdentity(mqtt.tls) if mqtt.tls else None
        self._password = password
        self._inbox: deque[tuple[str, bytes]] = deque(maxlen=_MAX_INBOX)
        self._backoff = Backoff()
        self._link = _Link.DOWN
        self._up_at = 0.0
        self._next_try = self._next_look = self._next_save = 0.0
        self._told = ""
        self._dirty = False

    # --- the worker -------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Take up where the last run ended.

        Raises:
            SparkplugError: the ids cannot stand in topics.
        """
        kept = self._load()
        self._sent = self._seen = int(kept.get("sent", 0))
        totals = kept.get("totals", {})
        self._sent_totals = {name: Totals.of(totals.get(name)) for name in self._stations}
        self._totals = dict(self._sent_totals)
        self._history_to = 0
        self._node = EdgeNode(
            group=self._section.group,
            node=self._section.edge_node or self._agent,
            tags=NODE_TAGS,
            devices=dict.fromkeys(self._stations, STATION_TAGS),
            primary_host=self._section.primary_host or "",
            bd_seq=int(kept.get("bd_seq", -1)),
            types_in_data=self._section.types_in_data,
        )
        self._client = self._make_client()

    def step(self) -> bool:
        """Follow the store, keep the connection, send what is due. Raises Transient: the store is away."""
        caught_up = self._follow()
        if self._link is _Link.DOWN:
            if caught_up and time.monotonic() >= self._next_try:
                self._connect()
            else:
                time.sleep(LOOP_S if caught_up else 0.0)
            return not caught_up
        if self._client.loop(LOOP_S if self._sent >= self._history_to else 0.01) != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._lost(REFUSED if self._link is _Link.REFUSED else "the connection was lost")
            return False
        self._progress()
        return self._node.born and self._sent < self._history_to

    def teardown(self) -> None:
        """Say goodbye: NDEATH, then a DISCONNECT that has the broker publish the will, too."""
        if self._link is _Link.READY:
            self._leave()
        self._save(force=True)

    # --- the connection ---------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._tls is not None:
            self._tls.renew()
        self._inbox.clear()
        self._client.drop_out_messages()  # a death that was not acknowledged must not follow the next birth
        will = self._node.will(self._now_ms())
        self._dirty = True
        self._save(force=True)  # a CONNECT that might have been sent must never share its bdSeq with the next
        self._client.will_set(will.topic, will.body, qos=will.qos, retain=will.retain)
        try:
            self._client.reconnect()
        except OSError as error:
            self._tell(Condition.DOWN, f"the broker cannot be reached: {error}")
            self._next_try = time.monotonic() + self._backoff.after_failure()
            return
        self._link, self._up_at = _Link.GREETING, time.monotonic()

    def _progress(self) -> None:
        """What a connection that is there has to do next."""
        if self._link is _Link.REFUSED:
            self._lost(REFUSED)
            return
        if self._link is _Link.SUBSCRIBED:
            self._link, self._history_to = _Link.READY, -1
            self._obey(self._node.connected())
        if self._link is not _Link.READY:
            if time.monotonic() - self._up_at > CONNECT_S:
                self._lost("the broker does not answer")
            return
        while self._inbox and self._link is _Link.READY:
            self._obey(self._ask(*self._inbox.popleft()))
        if self._link is not _Link.READY:
            return
        self._look()
        self._replay()
        self._save()
        waiting = f"waiting for the primary host {self._section.primary_host}"
        self._tell(Condition.OK, "published" if self._node.born else waiting)

    def _ask(self, topic: str, body: bytes) -> Asked:
        try:
            return self._node.take(topic, body)
        except SparkplugError as error:
            log.warning("Sparkplug message refused", topic=topic, error=str(error))
            return Asked.NOTHING

    def _obey(self, asked: Asked) -> None:
        if asked is Asked.BIRTH:
            self._look(force=True)
            self._publish(self._node.births(self._now_ms()))
            if self._history_to < 0:
                self._history_to = self._seen
        elif asked is Asked.LEAVE:
            self._leave()
            self._lost(f"the primary host {self._section.primary_host} is offline")

    def _leave(self) -> None:
        """NDEATH, a moment for the broker to take it, and DISCONNECT."""
        if self._node.born:
            death = self._node.death(self._now_ms())
            info = self._client.publish(death.topic, death.body, death.qos, death.retain)
            self._serve_until(info.is_published)
        self._client.disconnect(reasoncode=_with_will())
        self._serve_until(lambda: False)

    def _serve_until(self, done: Callable[[], bool]) -> None:
        """Keep the connection going until this is true, or it is closed, or it takes too long."""
        deadline = time.monotonic() + FAREWELL_S
        while not done() and time.monotonic() < deadline:
            if self._client.loop(0.02) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return

    def _lost(self, why: str) -> None:
        held_s = time.monotonic() - self._up_at
        refused = self._link is _Link.REFUSED
        self._link = _Link.DOWN
        self._node.disconnected()
        self._next_try = time.monotonic() + (
            self._backoff.after_refusal() if refused else self._backoff.after_loss(held_s)
        )
        self._tell(Condition.DOWN, why)

    def _publish(self, made: Iterable[Publication]) -> None:
        for one in made:
            self._client.publish(one.topic, one.body, one.qos, one.retain)

    # --- what there is to say ---------------------------------------------------------------------------------------

    def _follow(self) -> bool:
        """Note what was recorded since the last look, and send it where it may be sent; True when there is no more."""
        with self._store.reader() as unit:
            rows = unit.inspections.after(self._seen, BATCH)
        for row, inspection in rows:
            live = self._node.born and self._sent >= self._history_to
            self._seen = row
            values = self._counted(inspection, self._totals)
            if values is not None:
                at_ms, now_ms = _ms(inspection.ended_at), self._now_ms()
                self._publish(self._node.update(inspection.shot.station_id, values, at_ms=at_ms, now_ms=now_ms))
            if live:
                self._sent, self._dirty = row, True
                self._sent_totals = dict(self._totals)
        return len(rows) < BATCH

    def _replay(self) -> None:
        """Send some of what was recorded before the birth, with its own times and marked as historical."""
        if not self._node.born or self._sent >= self._history_to:
            return
        with self._store.reader() as unit:
            rows = unit.inspections.after(self._sent, HISTORY_STEP)
        oldest = self._clock.now() - timedelta(hours=self._section.history_hours)
        for row, inspection in rows:
            if row > self._history_to or self._node.is_lost(inspection.shot.station_id):
                break  # a device that is away has no data; its history waits for it
            values = self._counted(inspection, self._sent_totals)
            if values is not None and inspection.ended_at >= oldest:
                at_ms, now_ms = _ms(inspection.ended_at), self._now_ms()
                self._publish(self._node.history(inspection.shot.station_id, values, at_ms=at_ms, now_ms=now_ms))
            self._sent, self._dirty = row, True
        if not rows or self._sent >= self._history_to or rows[0][0] > self._history_to:  # sent, or deleted meanwhile
            self._sent, self._sent_totals = max(self._seen, self._history_to), dict(self._totals)

    def _counted(self, inspection: Inspection, totals: dict[str, Totals]) -> Any:
        """The station's values after this part; None for a station that is no longer configured."""
        station = inspection.shot.station_id
        if station not in totals:
            return None
        totals[station] = totals[station].plus(inspection)
        return station_values(inspection, totals[station])

    def _look(self, *, force: bool = False) -> None:
        """The node's own metrics, and which devices are there."""
        if not force and time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_S
        now_ms = self._now_ms()
        board = {entry.component: entry.condition for entry in self._board()}
        with self._store.reader() as unit:
            pending = unit.outbox.counts().get(OutboxState.PENDING, 0)
        order = [Condition.OK, Condition.STARTING, Condition.DEGRADED, Condition.DOWN]
        values = {
            "Software Version": self._version,
            "Health": max(board.values(), key=order.index, default=Condition.STARTING).value,
            "Outbox/Pending": pending,
        }
        self._publish(self._node.update(NODE, values, at_ms=now_ms, now_ms=now_ms))
        for station in self._stations:
            is_lost = board.get(f"camera:{station}") is Condition.DOWN
            change = self._node.device_lost if is_lost else self._node.device_back
            self._publish(change(station, now_ms))

    # --- what is kept -----------------------------------------------------------------------------------------------

    def _load(self) -> dict[str, Any]:
        with self._store.reader() as unit:
            kept = unit.facts.get(FACT)
        return kept if isinstance(kept, dict) else {}

    def _save(self, *, force: bool = False) -> None:
        if not self._dirty or (not force and time.monotonic() < self._next_save):
            return
        self._next_save, self._dirty = time.monotonic() + SAVE_S, False
        kept = {
            "bd_seq": self._node.bd_seq,
            "sent": self._sent,
            "totals": {name: totals.kept() for name, totals in self._sent_totals.items()},
        }
        with self._store.unit(durable=False) as unit:
            unit.facts.set(FACT, kept)
            unit.commit()

    def _tell(self, condition: Condition, detail: str) -> None:
        if detail != self._told:
            self._told = detail
            self._report(condition, detail)

    def _now_ms(self) -> int:
        return _ms(self._clock.now())

    # --- paho's callbacks, called from loop() -----------------------------------------------------------------------

    def _make_client(self) -> paho.Client:
        name = self._section.client_id or f"{self._agent}-sparkplug"
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        if self._mqtt.username is not None:
            client.username_pw_set(self._mqtt.username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls.context)
        client.on_socket_open = _no_delay
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        client.connect_async(
            self._mqtt.host,
            self._mqtt.port,
            keepalive=self._mqtt.keepalive_s,
            clean_start=True,
            properties=properties,
        )
        return client

    def _connected(self, client: paho.Client, _u: Any, _flags: Any, code: ReasonCode, _p: Any) -> None:
        if code.is_failure:
            self._link = _Link.REFUSED
            return
        client.subscribe([(topic, SubscribeOptions(qos=qos)) for topic, qos in self._node.subscriptions()])

    def _subscribed(self, _c: Any, _u: Any, _mid: int, codes: list[ReasonCode], _p: Any) -> None:
        self._link = _Link.REFUSED if any(code.is_failure for code in codes) else _Link.SUBSCRIBED

    def _received(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        self._inbox.append((message.topic, bytes(message.payload)))


class _Link:
    """How far the connection is."""

    DOWN, GREETING, SUBSCRIBED, READY, REFUSED = "down", "greeting", "subscribed", "ready", "refused"


def _with_will() -> ReasonCode:
    return ReasonCode(PacketTypes.DISCONNECT, identifier=_DISCONNECT_WITH_WILL)


def _no_delay(_client: Any, _userdata: Any, sock: Any) -> None:
    """Without it, Nagle's algorithm and delayed ACKs hold every burst for 40 ms."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1_000)
