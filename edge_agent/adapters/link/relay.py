"""From the outbox to the broker: windowed, by lane, and never marked done before somebody has it.

Runs on one thread (the worker that calls `step`). The network thread hands PUBACKs over in a deque; they are booked in
batches, one transaction each.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from random import SystemRandom
from typing import NamedTuple

import structlog

from edge_agent.adapters.link.connection import Connection, Limits
from edge_agent.adapters.link.pace import Pace
from edge_agent.adapters.link.packets import Parcel, unsendable
from edge_agent.adapters.link.quota import Quota
from edge_agent.config.plant import MqttSection
from edge_agent.contract import payloads, topics
from edge_agent.contract.complaints import ErrorReporter
from edge_agent.contract.envelope import Sender, with_sequence
from edge_agent.contract.order_index import announce_again
from edge_agent.contract.outbound import EXPIRY
from edge_agent.contract.signed import signed
from edge_agent.domain.message import Ack, Departure, Lane
from edge_agent.ports import Clock, Store
from edge_agent.signing.keys import SigningKey

log = structlog.get_logger(__name__)

REFILL_PARTS = 2
"""The window is filled again when this part of it is free: the broker must not wait for our database."""
FETCH_ROWS = 1_000
"""Rows read ahead at most, ..."""
FETCH_BYTES = 8_388_608
"""... and about so many bytes of them."""
READ_AGAIN_S = 5.0
"""What was read ahead this long ago is read again: another process may have changed it (`edge-agent outbox`)."""
BOOK_AT = 500
"""PUBACKs booked in one transaction, ..."""
BOOK_AFTER_S = 0.02
"""... or those that came in this time."""
PACE_WAIT_S = 0.05
RETRY_CAP_S = 600.0
SILENCE_S = 30.0
"""No PUBACK for a message in this time on a live connection: the connection is not live."""
PROPERTY_BYTES = 512
"""Allowance for topic and MQTT properties when a packet's size is judged."""

BROKER_KEEPS_S = int(EXPIRY.total_seconds())
"""At most; what waits longer waits here."""

REFUSED = 0x80
"""Codes from here on are refusals. 0x10 (nobody subscribes) is none, and no delivery either: the receipt decides."""
TRANSIENT_REFUSALS = frozenset({0x80, 0x83, 0x91, 0x97})
"""Unspecified, implementation specific, id in use, quota exceeded: later may be better."""

POISON_STRIKES = 3
POISON_WITHIN_S = 3.0
SUSPICION_S = 30.0
ORDERLY = frozenset({0x8B, 0x8D, 0x8E, 0x98, 0x9C, 0x9D})
"""Reasons for a loss that have nothing to do with what was sent."""
NO_LANE = 99


class Sent(NamedTuple):
    """A row on its way, without PUBACK."""

    row: Departure
    at_s: float


class Relay:
    """Sends what the outbox has due and books what the broker answers."""

    def __init__(
        self,
        connection: Connection,
        store: Store,
        *,
        options: MqttSection,
        sender: Sender,
        clock: Clock,
        quota: Quota | None = None,
        signing_key: SigningKey | None = None,
    ) -> None:
        self._connection, self._store, self._clock = connection, store, clock
        self._options, self._sender = options, sender
        self._retry = Retry(options.receipt_retry_s)
        self._poison = PoisonWatch()
        self._pace = Pace(options.drain_per_s)
        self._quota = quota
        self._late_after_us = int(options.late_after_s * 1_000_000)
        self._signing_key = signing_key
        self._reporter = ErrorReporter(sender=sender, clock=clock)
        self._epoch = 0
        self._ready: deque[Departure] = deque()
        self._flying: dict[int, Sent] = {}
        self._answered: list[tuple[Departure, int]] = []
        self._last_puback_s = 0.0
        self._book_since_s: float | None = None
        self._fetch_rows = FETCH_ROWS
        self._written_lane, self._read_at_s = NO_LANE, 0.0
        store.when_outgoing(self._written)

    @property
    def in_flight(self) -> int:
        """Messages sent and not yet answered."""
        return len(self._flying)

    def step(self, max_wait_s: float) -> int:
        """Send and book for at most about ``max_wait_s``, less when all that was due is done; rows handed over.

        Raises:
            Transient: the store is not available; nothing is lost, what was not booked is sent again.
        """
        deadline = time.monotonic() + max_wait_s
        sent = 0
        while True:
            self._connection.changed.clear()
            self._notice_losses()
            self._collect()
            self._keep_quota()
            sent_now = self._fill()
            sent += sent_now
            self._book_if_due()
            left = deadline - time.monotonic()
            if left <= 0 or (sent and not self._busy()):
                break
            if sent_now == 0:
                self._wait(left)
        self._collect()
        self._book()
        return sent

    def idle(self) -> bool:
        """Is nothing due and nothing on its way?"""
        if self._busy() or self._connection.pubacks:
            return False
        with self._store.reader() as reader:
            return not reader.outbox.due(self._clock.now(), 1)

    def _busy(self) -> bool:
        return bool(self._flying or self._ready or self._answered)

    def _wait(self, left_s: float) -> None:
        """Until enough answers are in, something was written, or it is time to book."""
        self._connection.wake_at = max(1, len(self._flying) // REFILL_PARTS)
        if len(self._connection.pubacks) >= self._connection.wake_at:
            return
        if self._flying or self._answered:
            left_s = min(left_s, BOOK_AFTER_S)
        elif self._ready:
            left_s = min(left_s, PACE_WAIT_S)
        self._connection.changed.wait(left_s)

    def _written(self, lane: int) -> None:
        """On the thread that has just committed."""
        self._written_lane = min(lane, self._written_lane)
        if not self._flying:
            self._connection.changed.set()

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
                again = announce_again(unit, sender=self._sender, clock=self._clock)
                unit.commit()
            if again:
                log.info("the broker did not know this box any more; open orders are sent again", orders=again)
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

    def _keep_quota(self) -> None:
        """What is on its way, or answered and not booked, is left alone; what was read ahead is read again."""
        if self._quota is None or not self._quota.due():
            return
        self._book()
        self._ready.clear()
        self._quota.step(frozenset([sent.row.sequence for sent in self._flying.values()]))

    # --- sending ----------------------------------------------------------------------------------------------------

    def _fill(self) -> int:
        """Fill the window again when a part of it is free; rows sent."""
        limits = self._connection.limits
        if limits is None or limits.epoch != self._epoch:
            return 0
        window = 1 if self._poison.suspicious else min(self._options.window, limits.receive_maximum)
        free = window - len(self._flying)
        if free < max(1, window // REFILL_PARTS) and not self._overtaken():
            return 0
        if not self._ready or self._overtaken() or time.monotonic() - self._read_at_s > READ_AGAIN_S:
            self._fetch()
        return self._send(self._take(free), limits)

    def _overtaken(self) -> bool:
        """Was something written that goes before what was read?"""
        return bool(self._ready) and self._written_lane < self._ready[0].lane

    def _fetch(self) -> None:
        """Read the next rows; what is answered is booked before, or it would be read again."""
        self._book()
        exclude = frozenset([sent.row.sequence for sent in self._flying.values()])
        self._written_lane, self._read_at_s = NO_LANE, time.monotonic()
        with self._store.reader() as reader:
            rows = reader.outbox.departures(self._clock.now(), self._fetch_rows, exclude=exclude)
        self._ready = deque(rows)
        if rows:
            largest = max(len(row.body) for row in rows)
            self._fetch_rows = max(1, min(FETCH_ROWS, FETCH_BYTES // max(1, largest)))

    def _take(self, free: int) -> list[Departure]:
        """The next rows: those about orders at once, the others as the pace allows."""
        most = min(free, len(self._ready))
        orders = sum(1 for row in islice(self._ready, most) if row.lane == Lane.ORDERS)
        others = self._pace.allowed(most - orders)
        self._pace.spend(others)
        return [self._ready.popleft() for _ in range(orders + others)]

    def _send(self, rows: list[Departure], limits: Limits) -> int:
        if not rows:
            return 0
        now = self._clock.now()
        now_us = (now - _EPOCH) // _MICROSECOND
        fit: list[Departure] = []
        parcels: list[Parcel] = []
        for row in rows:
            parcel = self._parcel(row, now_us)
            if too_large := self._too_large(parcel, limits):
                self._refuse(row, "oversize", "0x95", too_large)
            elif why := unsendable(parcel):
                self._refuse(row, "publish-refused", "0x90", why)
            else:
                fit.append(row)
                parcels.append(parcel)
        mids = self._connection.send(parcels, self._epoch) if parcels else []
        at_s = time.monotonic()
        self._flying.update((mid, Sent(row, at_s)) for mid, row in zip(mids, fit, strict=False))
        return len(mids)  # none: the connection is gone, its loss clears everything

    def _parcel(self, row: Departure, now_us: int) -> Parcel:
        topic = self._absolute(row.topic)
        late_s = self._late_s(row, now_us)
        body = with_sequence(row.body, row.sequence, late_s)
        if self._signing_key is not None and topics.is_signed(row.topic):
            body = signed(body, topic, self._signing_key)
        return Parcel(
            row.message_id,
            row.sequence,
            topic,
            body,
            row.retain,
            row.content_type,
            row.correlation,
            row.response_topic,
            None if row.expires_us is None else min(BROKER_KEEPS_S, max(1, (row.expires_us - now_us) // 1_000_000)),
            _user_properties(row.properties) if row.body else (),
            late_s if row.body else 0,
        )

    def _late_s(self, row: Departure, now_us: int) -> int:
        """How late it goes out, in whole seconds; 0: in time."""
        late_us = now_us - row.created_us
        return late_us // 1_000_000 if late_us > self._late_after_us else 0

    def _absolute(self, topic: str) -> str:
        return topic[1:] if topic.startswith("/") else topics.under(self._sender.topic_root, topic)

    def _too_large(self, parcel: Parcel, limits: Limits) -> str:
        agreed = self._options.max_payload_kib * 1024
        size = len(parcel.body)
        if size > agreed:
            return f"the body has {size} bytes, at most {agreed} are agreed (mqtt.max_payload_kib)"
        if limits.packet_bytes is not None and size + PROPERTY_BYTES > limits.packet_bytes:
            return f"the body has {size} bytes, the broker takes packets of at most {limits.packet_bytes}"
        return ""

    # --- booking ----------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Take the PUBACKs from the network thread."""
        pubacks = self._connection.pubacks
        if not pubacks:
            return
        now_s = time.monotonic()
        before = len(self._answered)
        while pubacks:
            epoch, mid, code = pubacks.popleft()
            sent = self._flying.pop(mid, None) if epoch == self._epoch else None
            if sent is not None:
                self._answered.append((sent.row, code))
        if len(self._answered) > before:
            self._last_puback_s = now_s
            self._book_since_s = self._book_since_s or now_s
            self._poison.acquit(row.sequence for row, _ in islice(self._answered, before, None))

    def _book_if_due(self) -> None:
        """Book when enough has come in, nothing more will, or the first has waited long enough."""
        if self._book_since_s is None:
            return
        waited_s = time.monotonic() - self._book_since_s
        if len(self._answered) >= BOOK_AT or waited_s >= BOOK_AFTER_S or not self._flying:
            self._book()

    def _book(self) -> None:
        if not self._answered:
            return
        self._write_fates(self._answered)
        answered, self._answered, self._book_since_s = self._answered, [], None
        for row, code in answered:
            if code >= REFUSED and code not in TRANSIENT_REFUSALS:
                kind: payloads.ErrorClass = "oversize" if code == 0x95 else "publish-refused"
                self._refuse(row, kind, f"0x{code:02x}", "the broker refused this message")

    def _write_fates(self, answered: list[tuple[Departure, int]]) -> None:
        now = self._clock.now()
        taken = [row for row, code in answered if code < REFUSED]
        again = self._retry.times(now)
        with self._store.unit(durable=False) as unit:
            unit.outbox.mark_sent(
                [row.sequence for row in taken],
                at=now,
                retry_at={row.sequence: again(row.attempts) for row in taken if row.ack == Ack.RECEIPT},
            )
            for row, code in answered:
                if code in TRANSIENT_REFUSALS:
                    unit.outbox.retry(row.sequence, at=again(row.attempts), detail=f"PUBACK 0x{code:02x}")
            unit.commit()

    def _refuse(self, row: Departure, kind: payloads.ErrorClass, code: str, detail: str) -> None:
        """Put a message aside, and say so on ``out/error`` (but not about an error message itself)."""
        log.error("a message is put aside", topic=row.topic, sequence=row.sequence, code=code, detail=detail)
        about = None
        if row.topic != topics.ERROR:
            about = self._reporter.made(kind, topic=row.topic, reason_code=code, detail=detail, original=row.body)
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

    def times(self, now: datetime) -> Callable[[int], datetime]:
        """The time of the next attempt, by the number of those before; the same for all of one batch."""
        jitter = self._random.uniform(0.8, 1.2)

        def at(attempts: int) -> datetime:
            wait_s = min(RETRY_CAP_S, self._first_s * 2.0 ** min(attempts, 16))
            return now + timedelta(seconds=wait_s * jitter)

        return at


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

    def acquit(self, sequences: Iterable[int]) -> None:
        """The broker has answered for them."""
        if self._strikes:
            for sequence in sequences:
                self._strikes.pop(sequence, None)

    def connection_lost(self, flying: Mapping[int, Sent], code: int) -> Departure | None:
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
        self.acquit([only.sequence])
        return only


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@lru_cache(64)
def _user_properties(document: str) -> tuple[tuple[str, str], ...]:
    """There are as many as there are kinds of messages."""
    return tuple(json.loads(document).items())
