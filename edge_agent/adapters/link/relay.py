"""From the outbox to the broker: windowed, by lane, and never marked done before somebody has it.

Runs on one thread (the worker that calls `step`). The network thread hands PUBACKs over in a deque; they are booked in
batches, one transaction each.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom

import structlog

from edge_agent.adapters.link.connection import Connection, Limits, Outgoing
from edge_agent.config.plant import MqttSection
from edge_agent.contract import outbound, topics
from edge_agent.contract.envelope import Sender, with_sequence
from edge_agent.domain.message import Ack, OutboundMessage, OutboxRow
from edge_agent.ports import Clock, Store

log = structlog.get_logger(__name__)

REFILL_PARTS = 4
"""The window is filled again when this part of it is free: the broker must not wait for our database."""
BOOK_AT = 200
"""PUBACKs booked in one transaction, ..."""
BOOK_AFTER_S = 0.02
"""... or those that came in this time."""
RETRY_CAP_S = 600.0
SILENCE_S = 30.0
"""No PUBACK for a message in this time on a live connection: the connection is not live."""
PROPERTY_BYTES = 512
"""Allowance for topic and MQTT properties when a packet's size is judged."""

REFUSED = 0x80
"""Codes from here on are refusals. 0x10 (nobody subscribes) is none, and no delivery either: the receipt decides."""
TRANSIENT_REFUSALS = frozenset({0x80, 0x83, 0x91, 0x97})
"""Unspecified, implementation specific, id in use, quota exceeded: later may be better."""

POISON_STRIKES = 3
POISON_WITHIN_S = 3.0
SUSPICION_S = 30.0
ORDERLY = frozenset({0x8B, 0x8D, 0x8E, 0x98, 0x9C, 0x9D})
"""Reasons for a loss that have nothing to do with what was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A row on its way, without PUBACK."""

    row: OutboxRow
    at_s: float


class Relay:
    """Sends what the outbox has due and books what the broker answers."""

    def __init__(
        self, connection: Connection, store: Store, *, options: MqttSection, sender: Sender, clock: Clock
    ) -> None:
        self._connection, self._store, self._clock = connection, store, clock
        self._options, self._sender = options, sender
        self._retry = Retry(options.receipt_retry_s)
        self._poison = PoisonWatch()
        self._reporter = ErrorReporter(sender=sender, clock=clock)
        self._epoch = 0
        self._ready: deque[OutboxRow] = deque()
        self._flying: dict[int, Sent] = {}
        self._answered: list[tuple[OutboxRow, int]] = []
        self._last_puback_s = 0.0
        self._book_since_s: float | None = None

    @property
    def in_flight(self) -> int:
        """Messages sent and not yet answered."""
        return len(self._flying)

    def step(self, max_wait_s: float) -> int:
        """Send and book for at most about ``max_wait_s``; rows handed to the broker.

        Raises:
            Transient: the store is not available; nothing is lost, what was not booked is sent again.
        """
        deadline = time.monotonic() + max_wait_s
        sent = 0
        while True:
            self._connection.changed.clear()
            self._notice_losses()
            self._collect()
            sent_now = self._fill()
            sent += sent_now
            self._book_if_due()
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if sent_now == 0:
                self._connection.wake_at = max(1, len(self._flying) // REFILL_PARTS)
                self._connection.changed.wait(min(left, BOOK_AFTER_S) if self._flying or self._answered else left)
        self._collect()
        self._book()
        return sent

    def idle(self) -> bool:
        """Is nothing due and nothing on its way?"""
        if self._flying or self._ready or self._answered or self._connection.pubacks:
            return False
        with self._store.reader() as reader:
            return not reader.outbox.due(self._clock.now(), 1)

    # --- connections ------------------------------------------------------------------------------------------------

    def _notice_losses(self) -> None:
        limits = self._connection.limits
        lost_code = None
        while self._connection.lost:
            epoch, code = self._connection.lost.popleft()
            lost_code = code if epoch == self._epoch else lost_code
        if limits is not None and limits.epoch == self._epoch and lost_code is None:
            self._watch_silence()
            return
        if self._flying or lost_code is not None:
            self._collect()
            self._book()
            self._convict(lost_code if lost_code is not None else 0x80)
            self._flying.clear()
        self._ready.clear()
        if limits is not None and limits.epoch != self._epoch:
            self._begin(limits)

    def _begin(self, limits: Limits) -> None:
        if not limits.session_present:
            with self._store.unit(durable=False) as unit:
                unit.outbox.resend_unreceipted(self._clock.now())
                unit.commit()
        self._epoch = limits.epoch
        self._last_puback_s = time.monotonic()

    def _convict(self, code: int) -> None:
        guilty = self._poison.connection_lost(self._flying, code)
        if guilty is not None:
            self._refuse(guilty, "publish-refused", f"0x{code:02x}", "the broker hung up each time this was sent")

    def _watch_silence(self) -> None:
        """A broker that answers pings but no publish is as good as gone."""
        if not self._flying:
            return
        now = time.monotonic()
        oldest = next(iter(self._flying.values())).at_s
        if now - max(oldest, self._last_puback_s) > max(SILENCE_S, 2.0 * self._options.keepalive_s):
            log.warning("no answer to what was sent, connecting again", in_flight=len(self._flying))
            self._last_puback_s = now
            self._connection.reset("no PUBACK")

    # --- sending ----------------------------------------------------------------------------------------------------

    def _fill(self) -> int:
        """Fill the window again when a part of it is free; rows sent."""
        limits = self._connection.limits
        if limits is None or limits.epoch != self._epoch:
            return 0
        window = 1 if self._poison.suspicious else min(self._options.window, limits.receive_maximum)
        free = window - len(self._flying)
        if free < max(1, window // REFILL_PARTS):
            return 0
        if not self._ready:
            self._fetch(window)
        return self._send([self._ready.popleft() for _ in range(min(free, len(self._ready)))], limits)

    def _fetch(self, limit: int) -> None:
        """Read the next rows; what is answered is booked before, or it would be read again."""
        self._book()
        exclude = frozenset(sent.row.sequence for sent in self._flying.values())
        with self._store.reader() as reader:
            self._ready.extend(reader.outbox.due(self._clock.now(), limit, exclude=exclude))

    def _send(self, rows: Iterable[OutboxRow], limits: Limits) -> int:
        sent = 0
        now = self._clock.now()
        for row in rows:
            message = self._outgoing(row, now)
            too_large = self._too_large(message, limits)
            if too_large:
                self._refuse(row, "oversize", "0x95", too_large)
                continue
            mid = self._connection.publish(message, self._epoch)
            if mid is None:  # the connection is gone: its loss clears everything
                break
            self._flying[mid] = Sent(row=row, at_s=time.monotonic())
            sent += 1
        return sent

    def _outgoing(self, row: OutboxRow, now: datetime) -> Outgoing:
        message = row.message
        identity = [("id", str(message.message_id)), ("seq", str(row.sequence))]
        return Outgoing(
            topic=topics.under(self._sender.topic_root, message.topic),
            body=with_sequence(message.body, row.sequence),
            retain=message.retain,
            content_type=message.content_type,
            correlation=message.correlation,
            response_topic=message.response_topic,
            expiry_s=_seconds_left(message.expires_at, now),
            user_properties=[*identity, *message.properties.items()] if message.body else identity,
        )

    def _too_large(self, message: Outgoing, limits: Limits) -> str:
        agreed = self._options.max_payload_kib * 1024
        size = len(message.body)
        if size > agreed:
            return f"the body has {size} bytes, at most {agreed} are agreed (mqtt.max_payload_kib)"
        if limits.packet_bytes is not None and size + PROPERTY_BYTES > limits.packet_bytes:
            return f"the body has {size} bytes, the broker takes packets of at most {limits.packet_bytes}"
        return ""

    # --- booking ----------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Take the PUBACKs from the network thread."""
        while self._connection.pubacks:
            puback = self._connection.pubacks.popleft()
            sent = self._flying.pop(puback.mid, None) if puback.epoch == self._epoch else None
            if sent is not None:
                self._last_puback_s = time.monotonic()
                self._book_since_s = self._book_since_s or self._last_puback_s
                self._answered.append((sent.row, puback.code))
                self._poison.acquit(sent.row.sequence)

    def _book_if_due(self) -> None:
        """Book when enough has come in, or the first has waited long enough."""
        if self._book_since_s is None:
            return
        if len(self._answered) >= BOOK_AT or time.monotonic() - self._book_since_s >= BOOK_AFTER_S:
            self._book()

    def _book(self) -> None:
        if not self._answered:
            return
        self._write_fates(self._answered)
        answered, self._answered, self._book_since_s = self._answered, [], None
        for row, code in answered:
            if code >= REFUSED and code not in TRANSIENT_REFUSALS:
                kind: outbound.ErrorClass = "oversize" if code == 0x95 else "publish-refused"
                self._refuse(row, kind, f"0x{code:02x}", "the broker refused this message")

    def _write_fates(self, answered: list[tuple[OutboxRow, int]]) -> None:
        now = self._clock.now()
        taken = [row for row, code in answered if code < REFUSED]
        with self._store.unit(durable=False) as unit:
            unit.outbox.mark_sent(
                [row.sequence for row in taken],
                at=now,
                retry_at={row.sequence: self._retry.at(row, now) for row in taken if row.message.ack is Ack.RECEIPT},
            )
            for row, code in answered:
                if code in TRANSIENT_REFUSALS:
                    unit.outbox.retry(row.sequence, at=self._retry.at(row, now), detail=f"PUBACK 0x{code:02x}")
            unit.commit()

    def _refuse(self, row: OutboxRow, kind: outbound.ErrorClass, code: str, detail: str) -> None:
        """Put a message aside, and say so on ``out/error`` (but not about an error message itself)."""
        message = row.message
        log.error("a message is put aside", topic=message.topic, sequence=row.sequence, code=code, detail=detail)
        about = None if message.topic == topics.ERROR else self._reporter.about(message, kind, code, detail)
        with self._store.unit() as unit:
            unit.outbox.quarantine(row.sequence, detail=f"{code} {detail}")
            if about is not None:
                unit.outbox.add(about)
            unit.commit()


class Retry:
    """When a message without receipt is sent again: doubling, capped, jittered."""

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s
        self._random = SystemRandom()

    def at(self, row: OutboxRow, now: datetime) -> datetime:
        """The time of the next attempt; ``row.attempts`` are those before this one."""
        wait_s = min(RETRY_CAP_S, self._first_s * 2.0 ** min(row.attempts, 16))
        return now + timedelta(seconds=wait_s * self._random.uniform(0.8, 1.2))


class PoisonWatch:
    """Finds the message that makes the broker hang up.

    After a loss shortly after sending, what was on its way is suspected and sent one at a time; the one whose sending
    ended the connection three times is guilty.
    """

    def __init__(self) -> None:
        self._strikes: dict[int, int] = {}
        self._until_s = 0.0

    @property
    def suspicious(self) -> bool:
        """Send one at a time now? Not for ever: a suspect may be over (expired, receipted) and never sent again."""
        return bool(self._strikes) and time.monotonic() < self._until_s

    def acquit(self, sequence: int) -> None:
        """The broker has answered for it."""
        self._strikes.pop(sequence, None)

    def connection_lost(self, flying: dict[int, Sent], code: int) -> OutboxRow | None:
        """Judge what was on its way; the guilty row, once it is known."""
        if code in ORDERLY:
            return None
        now = time.monotonic()
        self._until_s = now + SUSPICION_S
        recent = [sent for sent in flying.values() if now - sent.at_s <= POISON_WITHIN_S]
        self._strikes = {sent.row.sequence: self._strikes.get(sent.row.sequence, 0) for sent in recent}
        if len(recent) != 1:
            return None
        only = recent[0].row
        self._strikes[only.sequence] += 1
        if self._strikes[only.sequence] < POISON_STRIKES:
            return None
        self.acquit(only.sequence)
        return only


class ErrorReporter:
    """Makes error messages, a bounded number of them in an hour."""

    PER_HOUR = 60

    def __init__(self, *, sender: Sender, clock: Clock) -> None:
        self._sender, self._clock = sender, clock
        self._hour_began: datetime | None = None
        self._made = 0

    def about(
        self, message: OutboundMessage, kind: outbound.ErrorClass, code: str, detail: str
    ) -> OutboundMessage | None:
        """The error about one of our own messages."""
        return self.made(kind, topic=message.topic, reason_code=code, detail=detail, original=message.body)

    def made(
        self, kind: outbound.ErrorClass, *, topic: str, reason_code: str, detail: str, original: bytes
    ) -> OutboundMessage | None:
        """An error message; None when there were too many in this hour."""
        now = self._clock.now()
        if self._hour_began is None or not timedelta(0) <= now - self._hour_began < timedelta(hours=1):
            self._hour_began, self._made = now, 0
        self._made += 1
        if self._made > self.PER_HOUR:
            return None
        return outbound.error(
            kind,
            topic=topic,
            reason_code=reason_code,
            detail=detail,
            original=original,
            sender=self._sender,
            clock=self._clock,
        )


def _seconds_left(expires_at: datetime | None, now: datetime) -> int | None:
    return None if expires_at is None else max(1, int((expires_at - now).total_seconds()))
