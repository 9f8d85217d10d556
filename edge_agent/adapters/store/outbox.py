"""Messages to the plant: rows written in the transaction that made the fact."""

import heapq
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, RowMapping, and_, bindparam, exists, func, or_, select

from edge_agent.adapters.store.codec import decode_strings, encode_strings, from_us, label, to_us
from edge_agent.adapters.store.schema import outbox
from edge_agent.adapters.store.session import Session
from edge_agent.domain.message import Ack, Lane, OutboundMessage, OutboxRow, OutboxState

PRUNE_BATCH = 5_000
UNKNOWN_RETRY = timedelta(minutes=10)
"""When a receipt-class row is sent again if `mark_sent` was not told."""
CLOCK_STEP = timedelta(days=1)
"""A retry further away than this was planned under a clock that has since been set back: it is due."""

_CHUNK = 500
_AT_ONCE = 0

_older = outbox.alias("older")
_BLOCKED = exists().where(
    _older.c.order_key == outbox.c.order_key,
    _older.c.sequence < outbox.c.sequence,
    _older.c.state.in_([OutboxState.PENDING.value, OutboxState.QUARANTINED.value]),
    _older.c.puback_us.is_(None),
)
_ITS_TIME = or_(outbox.c.next_attempt_us <= bindparam("now"), outbox.c.next_attempt_us > bindparam("absurd"))
_FRESH = or_(outbox.c.expires_us.is_(None), outbox.c.expires_us > bindparam("now"))
_DUE = select(outbox).where(_ITS_TIME, _FRESH).order_by(outbox.c.lane, outbox.c.sequence).limit(bindparam("most"))
_PENDING_DUE = _DUE.where(outbox.c.state == OutboxState.PENDING.value, or_(outbox.c.order_key.is_(None), ~_BLOCKED))
_RETRY_DUE = _DUE.where(outbox.c.state == OutboxState.SENT.value)
_ANY_RETRY = select(outbox.c.sequence).where(outbox.c.state == OutboxState.SENT.value, _ITS_TIME).limit(1)

_KNOWN = select(outbox.c.sequence).where(outbox.c.message_id == bindparam("id"))
_ADD = outbox.insert()
_OLDEST = (
    select(outbox.c.created_us)
    .where(outbox.c.state == OutboxState.PENDING.value, outbox.c.lane == bindparam("of_lane", type_=Integer))
    .order_by(outbox.c.sequence)
    .limit(1)
)
_UNDER_WAY = or_(outbox.c.state == OutboxState.PENDING.value, outbox.c.state == OutboxState.SENT.value)
_PUBACKED = (
    outbox.update()
    .where(
        outbox.c.sequence.in_(bindparam("of_sequences", expanding=True)),
        outbox.c.ack == Ack.PUBACK.value,
        _UNDER_WAY,
    )
    .values(
        state=OutboxState.CONFIRMED.value,
        attempts=outbox.c.attempts + 1,
        puback_us=bindparam("at"),
        confirmed_us=bindparam("at"),
        detail="",
    )
)
_AWAITING = (
    outbox.update()
    .where(outbox.c.sequence == bindparam("of_sequence"), outbox.c.ack == Ack.RECEIPT.value, _UNDER_WAY)
    .values(
        state=OutboxState.SENT.value,
        attempts=outbox.c.attempts + 1,
        puback_us=bindparam("at"),
        next_attempt_us=bindparam("again"),
        detail="",
    )
)


class SqlOutbox:
    """Implements ``ports.Outbox``.

    A row's life: pending, then (PUBACK) confirmed, or for receipt-class rows sent, then (receipt) confirmed. A row
    that is quarantined holds back later ones with its ``order_key``, until `retry`, a receipt or its expiry.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, message: OutboundMessage) -> int:
        """The per-box sequence number it was given. Idempotent on message_id."""
        known = self._session.first(_KNOWN, {"id": message.message_id})
        if known is not None:
            return int(known)
        sequence = self._session.take("outbox")
        self._session.write(_ADD, _columns(sequence, message))
        return sequence

    def due(self, now: datetime, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[OutboxRow]:
        """Rows to send now: by lane, then sequence; unreceipted ones again when their retry is due."""
        values = {"now": to_us(now), "absurd": to_us(now + CLOCK_STEP), "most": limit + len(exclude)}
        pending = self._session.rows(_PENDING_DUE, values)
        again = self._session.rows(_RETRY_DUE, values) if self._session.first(_ANY_RETRY, values) else []
        merged = heapq.merge(pending, again, key=lambda row: (row["lane"], row["sequence"]))
        return [_outbox_row(row) for row in merged if row["sequence"] not in exclude][:limit]

    def mark_sent(self, sequences: Sequence[int], *, at: datetime, retry_at: Mapping[int, datetime]) -> None:
        """PUBACKed. PUBACK-class rows are confirmed; receipt-class rows wait, to be sent again at ``retry_at``."""
        if not sequences:
            return
        at_us, unknown = to_us(at), at + UNKNOWN_RETRY
        done = sum(
            self._session.write(_PUBACKED, {"of_sequences": list(sequences[start : start + _CHUNK]), "at": at_us})
            for start in range(0, len(sequences), _CHUNK)
        )
        if done < len(sequences):
            waiting = [{"of_sequence": n, "at": at_us, "again": to_us(retry_at.get(n, unknown))} for n in sequences]
            self._session.write(_AWAITING, waiting)

    def confirm(self, message_ids: Sequence[UUID], *, at: datetime) -> int:
        """Receipts: how many rows became confirmed by it. The MES has it, so whatever we thought of the row is over."""
        confirmed = 0
        for start in range(0, len(message_ids), _CHUNK):
            meant = outbox.c.message_id.in_(message_ids[start : start + _CHUNK])
            open_rows = outbox.update().where(meant, outbox.c.state != OutboxState.CONFIRMED.value)
            done = {"state": OutboxState.CONFIRMED.value, "confirmed_us": to_us(at), "detail": ""}
            confirmed += self._session.write(open_rows.values(done))
        return confirmed

    def settle(self, order_key: str, *, at: datetime) -> int:
        """Nothing with this key has to be sent any more (its order is over): confirm what is left of it; how many."""
        unfinished = [state.value for state in (OutboxState.PENDING, OutboxState.SENT, OutboxState.QUARANTINED)]
        left = outbox.update().where(outbox.c.order_key == label(order_key), outbox.c.state.in_(unfinished))
        done = {"state": OutboxState.CONFIRMED.value, "confirmed_us": to_us(at), "detail": "settled"}
        return self._session.write(left.values(done))

    def retry(self, sequence: int, *, at: datetime, detail: str) -> None:
        """Try this row again at ``at``; a quarantined one becomes pending."""
        mine = outbox.c.sequence == sequence
        again = {"next_attempt_us": to_us(at), "attempts": outbox.c.attempts + 1, "detail": label(detail)}
        self._session.write(outbox.update().where(mine, _UNDER_WAY).values(again))
        held = and_(mine, outbox.c.state == OutboxState.QUARANTINED.value)
        self._session.write(outbox.update().where(held).values(again | {"state": OutboxState.PENDING.value}))

    def quarantine(self, sequence: int, *, detail: str) -> None:
        """Stop sending this row until a person says otherwise (`retry`)."""
        stopped = {
            "state": OutboxState.QUARANTINED.value,
            "attempts": outbox.c.attempts + 1,
            "detail": label(detail),
        }
        self._session.write(outbox.update().where(outbox.c.sequence == sequence, _UNDER_WAY).values(stopped))

    def drop(self, sequence: int, *, detail: str) -> bool:
        """A person gives a quarantined row up: it expires. False when it is not quarantined."""
        meant = outbox.c.sequence == sequence, outbox.c.state == OutboxState.QUARANTINED.value
        over = {"state": OutboxState.EXPIRED.value, "detail": label(detail)}
        return self._session.write(outbox.update().where(*meant).values(over)) > 0

    def expire(self, now: datetime) -> int:
        """Mark rows past ``expires_at``; how many."""
        late = outbox.c.expires_us <= to_us(now)
        unfinished = [state.value for state in (OutboxState.PENDING, OutboxState.SENT, OutboxState.QUARANTINED)]
        rows = outbox.update().where(outbox.c.state.in_(unfinished), late)
        return self._session.write(rows.values(state=OutboxState.EXPIRED.value, detail="expired before it arrived"))

    def resend_unreceipted(self, now: datetime) -> int:
        """Make all receipt-class rows without receipt due now (the MES came back)."""
        waiting = outbox.update().where(outbox.c.state == OutboxState.SENT.value)
        return self._session.write(waiting.values(next_attempt_us=to_us(now)))

    def counts(self) -> Mapping[OutboxState, int]:
        """Number of rows by state; every state is there."""
        query = select(outbox.c.state, func.count().label("n")).group_by(outbox.c.state)
        found = {row["state"]: row["n"] for row in self._session.rows(query)}
        return {state: found.get(state.value, 0) for state in OutboxState}

    def counts_by_lane(self) -> Mapping[tuple[Lane, OutboxState], int]:
        """Number of rows by lane and state; only pairs that occur."""
        query = select(outbox.c.lane, outbox.c.state, func.count().label("n")).group_by(outbox.c.state, outbox.c.lane)
        return {(Lane(row["lane"]), OutboxState(row["state"])): row["n"] for row in self._session.rows(query)}

    def get(self, sequence: int) -> OutboxRow | None:
        """The row, whatever its state."""
        found = self._session.rows(select(outbox).where(outbox.c.sequence == sequence))
        return _outbox_row(found[0]) if found else None

    def oldest_pending(self) -> datetime | None:
        """When the oldest row without PUBACK was written."""
        oldest = [self._session.first(_OLDEST, {"of_lane": lane.value}) for lane in Lane]
        return min((from_us(us) for us in oldest if us is not None), default=None)

    def rows(self, *, state: OutboxState | None = None, limit: int = 100) -> list[OutboxRow]:
        """Newest first, for people."""
        newest = select(outbox.c.sequence).order_by(outbox.c.sequence.desc()).limit(limit)
        if state is not None:  # sorts the index, not the rows with their bodies
            newest = newest.where(outbox.c.state == state.value)
        query = select(outbox).where(outbox.c.sequence.in_(newest)).order_by(outbox.c.sequence.desc())
        return [_outbox_row(row) for row in self._session.rows(query)]

    def prune(self, before: datetime) -> int:
        """Delete confirmed and expired rows written before this, a bounded batch: call again until it returns 0."""
        finished = [OutboxState.CONFIRMED.value, OutboxState.EXPIRED.value]
        oldest = (
            select(outbox.c.sequence)
            .where(outbox.c.state.in_(finished), outbox.c.created_us < to_us(before))
            .order_by(outbox.c.sequence)
            .limit(PRUNE_BATCH)
        )
        return self._session.write(outbox.delete().where(outbox.c.sequence.in_(oldest)))


def _columns(sequence: int, message: OutboundMessage) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "message_id": message.message_id,
        "topic": label(message.topic),
        "body": message.body,
        "lane": int(message.lane),
        "ack": message.ack.value,
        "created_us": to_us(message.created_at),
        "retain": message.retain,
        "order_key": label(message.order_key) or None,
        "expires_us": None if message.expires_at is None else to_us(message.expires_at),
        "content_type": label(message.content_type),
        "correlation": label(message.correlation),
        "response_topic": label(message.response_topic),
        "properties": encode_strings(message.properties),
        "state": OutboxState.PENDING.value,
        "attempts": 0,
        "next_attempt_us": _AT_ONCE,
        "detail": "",
    }


def _message(row: RowMapping) -> OutboundMessage:
    return OutboundMessage(
        message_id=row["message_id"],
        topic=row["topic"],
        body=bytes(row["body"]),
        lane=Lane(row["lane"]),
        ack=Ack(row["ack"]),
        created_at=from_us(row["created_us"]),
        retain=row["retain"],
        order_key=row["order_key"] or "",
        expires_at=None if row["expires_us"] is None else from_us(row["expires_us"]),
        content_type=row["content_type"],
        correlation=row["correlation"],
        response_topic=row["response_topic"],
        properties=decode_strings(row["properties"]),
    )


def _outbox_row(row: RowMapping) -> OutboxRow:
    return OutboxRow(
        sequence=row["sequence"],
        message=_message(row),
        state=OutboxState(row["state"]),
        attempts=row["attempts"],
        next_attempt_at=from_us(row["next_attempt_us"] or row["created_us"]),
        detail=row["detail"],
    )
