"""The plant link over MQTT 5."""

import time
from collections.abc import Callable
from dataclasses import replace

import structlog

import edge_agent
from edge_agent.adapters.link.canary import Canary
from edge_agent.adapters.link.connection import Arrived, Connection, Outgoing
from edge_agent.adapters.link.dispatch import Dispatcher, Route
from edge_agent.adapters.link.quota import Quota
from edge_agent.adapters.link.relay import Relay
from edge_agent.config.plant import MqttSection
from edge_agent.contract import topics
from edge_agent.contract.envelope import CONTENT_TYPE, Sender
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import Clock, InboundHandler, LinkAlarm, LinkStatus, Store
from edge_agent.signing.keys import SigningKey

log = structlog.get_logger(__name__)

FLUSH_STEP_S = 0.1
FAREWELL_S = 1.0
"""Kept for saying offline."""


class MqttLink:
    """Implements ``ports.PlantLink``.

    Three threads: the network (paho), the dispatch of what comes in, and the caller of `relay`.
    """

    def __init__(
        self,
        options: MqttSection,
        *,
        agent: str,
        topic_root: str,
        store: Store,
        clock: Clock,
        state_body: Callable[[bool], bytes],
        password: str | None = None,
        quota_bytes: int | None = None,
        canary: bool = False,
        signing_key: SigningKey | None = None,
    ) -> None:
        """Prepare; nothing is connected before `start`.

        Args:
            state_body: makes the body of ``out/state``: True for the birth, False for the last will.
            quota_bytes: what the outbox may hold; None: as much as the disk.
            canary: try whether the broker's access rules hold.
            signing_key: signs work orders and reports.

        Raises:
            ConfigError: TLS files that cannot be used.
        """
        if options.username is not None and password is None:
            raise ConfigError(f"mqtt: user {options.username!r} has no password: set password_file")
        self._topic_root, self._state_body = topic_root, state_body
        self._connection = Connection(
            options,
            client_id=agent,
            password=password,
            clock=clock,
            will=lambda: self._state(False),
            on_ready=self._greet,
            on_message=self._offer,
            on_tick=self._tick,
        )
        self._canary = Canary(self._connection, topic_root) if canary else None
        self._dispatcher = Dispatcher(
            clock=clock,
            acknowledge=self._connection.acknowledge,
            ask_again=lambda: self._connection.reset("messages were left with the broker", at_once=True),
        )
        sender = Sender(agent=agent, topic_root=topic_root, uri_base="", software_version=edge_agent.__version__)
        self._quota = None if quota_bytes is None else Quota(store, limit_bytes=quota_bytes, sender=sender, clock=clock)
        self._relay = Relay(
            self._connection,
            store,
            options=options,
            sender=sender,
            clock=clock,
            quota=self._quota,
            signing_key=signing_key,
        )

    @property
    def topic_root(self) -> str:
        """Without a slash at the end."""
        return self._topic_root

    def subscribe(self, topic_filter: str, handler: InboundHandler, *, qos: int = 1, keep: bool = True) -> None:
        """Deliver messages of an absolute topic filter; before `start`.

        Several handlers may match one message; it is acknowledged after all of them. ``keep=False`` is for telemetry:
        acknowledged on arrival, oldest dropped when the handlers are too slow.
        """
        self._dispatcher.add(Route(topic_filter=topic_filter, handler=handler, qos=qos, keep=keep))

    def start(self) -> None:
        """Begin connecting in the background; a broker that is away is waited for."""
        self._dispatcher.start()
        self._connection.start()

    def relay(self, max_wait_s: float) -> int:
        """Send what the outbox has due and book the answers; rows sent.

        Raises:
            Transient: the store is not available.
            Exception: a bug on one of the link's own threads, for the supervisor.
        """
        self._connection.raise_bug()
        self._dispatcher.raise_bug()
        return self._relay.step(max_wait_s)

    def publish_state(
        self, body: bytes, topic: str, *, retain: bool = True, qos: int = 0, expiry_s: int | None = None
    ) -> None:
        """Publish outside the outbox, on a topic below the root; dropped when offline.

        A topic with a leading ``/`` is absolute; what goes there is not ours to describe, so it has no content type.
        """
        limits = self._connection.limits
        if limits is not None:
            content_type = CONTENT_TYPE if topic == topics.STATE else "application/json"
            content_type = "" if topic.startswith("/") else content_type
            self._connection.publish(
                Outgoing(
                    topic=self._under(topic),
                    body=body,
                    qos=qos,
                    retain=retain,
                    content_type=content_type,
                    expiry_s=expiry_s,
                ),
                limits.epoch,
            )

    def status(self) -> LinkStatus:
        """How the link is doing."""
        status = replace(self._connection.status(), alarms=tuple(self._alarms()))
        return status if self._quota is None else replace(status, quota_used=self._quota.used)

    def _alarms(self) -> list[LinkAlarm]:
        text = "the broker ends this box's connection again and again: does another client use the same client id?"
        taken = self._connection.taken_over
        found = [LinkAlarm(component="client id", active=taken, detail=text if taken else "nobody else uses it")]
        return found + (self._canary.alarms() if self._canary else [])

    def stop(self, timeout_s: float) -> None:
        """Flush what can be sent in the time, say offline (a clean disconnect keeps the will back), disconnect."""
        deadline = time.monotonic() + timeout_s
        self._flush(deadline - FAREWELL_S)
        self._dispatcher.stop(max(0.1, min(FAREWELL_S, deadline - time.monotonic())))
        self._say_offline(deadline)
        self._connection.stop(max(0.5, deadline - time.monotonic()))

    def _flush(self, deadline: float) -> None:
        try:
            while self._connection.limits is not None and time.monotonic() < deadline and not self._relay.idle():
                self._relay.step(FLUSH_STEP_S)
        except Transient as error:
            log.warning("the outbox could not be flushed; it will be at the next start", error=str(error))

    def _say_offline(self, deadline: float) -> None:
        limits = self._connection.limits
        if limits is None:
            return
        mid = self._connection.publish(self._state(False), limits.epoch)
        while mid is not None and self._connection.limits is not None and time.monotonic() < deadline:
            if any(puback.mid == mid for puback in list(self._connection.pubacks)):
                return
            self._connection.changed.wait(0.02)

    # --- the network thread -----------------------------------------------------------------------------------------

    def _greet(self) -> None:
        """After each CONNACK: subscriptions first, then the birth."""
        self._connection.subscribe(self._dispatcher.filters())
        limits = self._connection.limits
        if limits is not None:
            self._connection.publish(self._state(True), limits.epoch)

    def _tick(self, epoch: int) -> None:
        if self._canary is not None:
            self._canary.tick(epoch)

    def _offer(self, arrived: Arrived) -> bool:
        return self._dispatcher.offer(arrived)

    def _state(self, online: bool) -> Outgoing:
        return Outgoing(
            topic=self._under(topics.STATE), body=self._state_body(online), retain=True, content_type=CONTENT_TYPE
        )

    def _under(self, topic: str) -> str:
        return topic[1:] if topic.startswith("/") else topics.under(self._topic_root, topic)
