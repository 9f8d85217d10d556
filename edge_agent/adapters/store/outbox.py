"""Messages to the plant: rows written in the transaction that made the fact."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, RowMapping, Select, and_, bindparam, exists, func, or_, select, text
from sqlalchemy.dialects import postgresql, sqlite

from edge_agent.adapters.store.codec import decode_strings, encode_strings, from_us, label, to_us
from edge_agent.adapters.store.schema import outbox, outbox_content
from edge_agent.adapters.store.session import Session
from edge_agent.domain.message import Ack, Departure, Lane, LaneUsage, OutboundMessage, OutboxRow, OutboxState

PRUNE_BATCH = 5_000
UNKNOWN_RETRY = timedelta(minutes=10)
"""When a receipt-class row is sent again if `mark_sent` was not told."""
CLOCK_STEP = timedelta(days=1)
"""A retry further away than this was planned under a clock that has since been set back: it is due."""
RUNS_AT_MOST = 8
"""Rows in at most so many unbroken runs of numbers are marked run by run, else number by number."""

_CHUNK = 500
_AT_ONCE = 0
_NONE = [0]

_PENDING = text("outbox.state = 'pending' AND outbox.state <> 'confirmed'")
"""Literal, and said twice: so the planner sees that the partial index will do."""
_SENT = text("outbox.state = 'sent' AND outbox.state <> 'confirmed'")
_OF_THE_SENT = text("outbox.state = 'sent'")
_UNFINISHED = text("outbox.state <> 'confirmed' AND outbox.state IN ('pending', 'sent', 'quarantined')")

_older = outbox.alias("older")
_BLOCKED = exists().where(
    _older.c.order_key == outbox.c.order_key,
    _older.c.sequence < outbox.c.sequence,
    _older.c.state.in_([OutboxState.PENDING.value, OutboxState.QUARANTINED.value]),
    _older.c.puback_us.is_(None),
)
_ITS_TIME = or_(outbox.c.next_attempt_us <= bindparam("now"), outbox.c.next_attempt_us > bindparam("absurd"))
_FRESH = or_(outbox.c.expires_us.is_(None), outbox.c.expires_us > bindparam("now"))
_NOT_FLYING = outbox.c.sequence.not_in(bindparam("flying", expanding=True))
_WHOLE = select(outbox, *[column for column in outbox_content.c if column.name != "sequence"]).join_from(
    outbox, outbox_content, outbox_content.c.sequence == outbox.c.sequence
)
_DEPARTING = select(
    outbox.c.sequence,
    outbox.c.message_id,
    outbox.c.lane,
    outbox.c.ack,
    outbox.c.attempts,
    outbox.c.expires_us,
    outbox_content.c.topic,
    outbox_content.c.body,
    outbox_content.c.retain,
    outbox_content.c.content_type,
    outbox_content.c.correlation,
    outbox_content.c.response_topic,
    outbox_content.c.properties,
    outbox.c.created_us,
).join_from(outbox, outbox_content, outbox_content.c.sequence == outbox.c.sequence)


def _next(query: Select[Any], *which: Any) -> Select[Any]:
    ordered = query.where(*which, _ITS_TIME, _FRESH, _NOT_FLYING).order_by(outbox.c.lane, outbox.c.sequence)
    return ordered.limit(bindparam("most"))


_FREE = or_(outbox.c.order_key.is_(None), ~_BLOCKED)
_PENDING_DUE, _RETRY_DUE = _next(_WHOLE, _PENDING, _FREE), _next(_WHOLE, _SENT)
_PENDING_DEPARTING, _RETRY_DEPARTING = _next(_DEPARTING, _PENDING, _FREE), _next(_DEPARTING, _SENT)
_ANY_RETRY = select(outbox.c.sequence).where(_OF_THE_SENT, _ITS_TIME).limit(1)

_KNOWN = select(outbox.c.sequence).where(outbox.c.message_id == bindparam("id"))
_ADD = {
    "sqlite": sqlite.insert(outbox).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(outbox).on_conflict_do_nothing().execution_options(preserve_rowcount=True),
}
"""Leaves a message that is there already alone."""
_ADD_CONTENT = outbox_content.insert()
_OLDEST = (
    select(outbox.c.created_us)
    .where(_PENDING, outbox.c.lane == bindparam("of_lane", type_=Integer))
    .order_by(outbox.c.sequence)
    .limit(1)
)
_UNDER_WAY = or_(outbox.c.state == OutboxState.PENDING.value, outbox.c.state == OutboxState.SENT.value)
_LISTED = outbox.c.sequence.in_(bindparam("of_sequences", expanding=True))
_RUN = outbox.c.sequence.between(bindparam("first"), bindparam("last"))


def _pubacked(which: ColumnElement[bool]) -> Any:
    return (
        outbox.update()
        .where(which, outbox.c.ack == Ack.PUBACK.value, _UNDER_WAY)
        .values(
            state=OutboxState.CONFIRMED.value,
            attempts=outbox.c.attempts + 1,
            puback_us=bindparam("at"),
            confirmed_us=bindparam("at"),
            detail="",
        )
    )


def _awaiting(which: ColumnElement[bool]) -> Any:
    return (
        outbox.update()
        .where(which, outbox.c.ack == Ack.RECEIPT.value, _UNDER_WAY)
        .values(
            state=OutboxState.SENT.value,
            attempts=outbox.c.attempts + 1,
            puback_us=bindparam("at"),
            next_attempt_us=bindparam("again"),
            detail="",
        )
    )


_PUBACKED_RUN, _PUBACKED_LIST = _pubacked(_RUN), _pubacked(_LISTED)
_AWAITING_RUN, _AWAITING_LIST = _awaiting(_RUN), _awaiting(_LISTED)
_DELETE = outbox.delete().where(_LISTED)
_DELETE_CONTENT = outbox_content.delete().where(
    outbox_content.c.sequence.in_(bindparam("of_sequences", expanding=True))
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
        sequence = self._session.take("outbox")
        content = _content(sequence, message)
        if not self._session.write(_ADD[self._session.dialect], _fate(sequence, message)):
            self._session.give_back("outbox")
            return int(self._session.first(_KNOWN, {"id": message.message_id}))
        self._session.write(_ADD_CONTENT, content)
        self._session.outgoing = min(int(message.lane), self._session.outgoing)
        return sequence

    def due(self, now: datetime, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[OutboxRow]:
        """Rows to send now: by lane, then sequence; unreceipted ones again when their retry is due."""
        return [_outbox_row(row._mapping) for row in self._due(_PENDING_DUE, _RETRY_DUE, now, limit, exclude)]

    def departures(self, now: datetime, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[Departure]:
        """The same rows as `due`, as the relay wants them."""
        found = self._due(_PENDING_DEPARTING, _RETRY_DEPARTING, now, limit, exclude)
        return [Departure(row[0], str(row[1]), *row[2:]) for row in found]

    def _due(
        self, pending: Select[Any], again: Select[Any], now: datetime, limit: int, exclude: frozenset[int]
    ) -> list[Any]:
        values = {"now": to_us(now), "absurd": to_us(now + CLOCK_STEP), "most": limit, "flying": list(exclude) or _NONE}
        fresh = self._session.tuples(pending, values)
        if not self._session.first(_ANY_RETRY, {"now": values["now"], "absurd": values["absurd"]}):
            return fresh
        late = self._session.tuples(again, values)
        return list(heapq.merge(fresh, late, key=lambda row: (row.lane, row.sequence)))[:limit]

    def mark_sent(self, sequences: Sequence[int], *, at: datetime, retry_at: Mapping[int, datetime]) -> None:
        """PUBACKed. PUBACK-class rows are confirmed; receipt-class rows wait, to be sent again at ``retry_at``."""
        if not sequences:
            return
        at_us = to_us(at)
        if self._mark(_PUBACKED_RUN, _PUBACKED_LIST, sequences, {"at": at_us}) == len(sequences):
            return
        together: dict[int, list[int]] = defaultdict(list)
        for sequence in sequences:
            together[to_us(retry_at.get(sequence, at + UNKNOWN_RETRY))].append(sequence)
        for again_us, members in together.items():
            self._mark(_AWAITING_RUN, _AWAITING_LIST, members, {"at": at_us, "again": again_us})

    def _mark(self, by_run: Any, by_list: Any, sequences: Sequence[int], values: dict[str, int]) -> int:
        runs = _runs(sequences)
        if len(runs) <= RUNS_AT_MOST:
            return sum(self._session.write(by_run, values | {"first": a, "last": b}) for a, b in runs)
        return sum(self._session.write(by_list, values | {"of_sequences": part}) for part in _parts(sequences))

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
        rows = outbox.update().where(text("state <> 'confirmed'"), outbox.c.state.in_(unfinished), late)
        return self._session.write(rows.values(state=OutboxState.EXPIRED.value, detail="expired before it arrived"))

    def resend_unreceipted(self, now: datetime) -> int:
        """Make all receipt-class rows without receipt due now (the MES came back)."""
        waiting = outbox.update().where(_SENT)
        return self._session.write(waiting.values(next_attempt_us=to_us(now)))

    def counts(self) -> Mapping[OutboxState, int]:
        """Number of rows by state; every state is there."""
        query = select(outbox.c.state, func.count()).where(text("state <> 'confirmed'")).group_by(outbox.c.state)
        found = dict(self._session.tuples(query))
        total = self._session.first(select(func.count()).select_from(outbox))
        found[OutboxState.CONFIRMED.value] = total - sum(found.values())
        return {state: found.get(state.value, 0) for state in OutboxState}

    def counts_by_lane(self) -> Mapping[tuple[Lane, OutboxState], int]:
        """Number of rows by lane and state; only pairs that occur."""
        query = select(outbox.c.lane, outbox.c.state, func.count().label("n")).group_by(outbox.c.state, outbox.c.lane)
        return {(Lane(row["lane"]), OutboxState(row["state"])): row["n"] for row in self._session.rows(query)}

    def usage(self) -> Sequence[LaneUsage]:
        """What is not finished, by lane; only lanes that hold something."""
        query = (
            select(outbox.c.lane, func.count(), func.sum(outbox.c.size_bytes), func.min(outbox.c.created_us))
            .where(_UNFINISHED)
            .group_by(outbox.c.lane)
            .order_by(outbox.c.lane)
        )
        return [
            LaneUsage(lane=Lane(lane), rows=rows, size_bytes=int(size), oldest_at=from_us(oldest))
            for lane, rows, size, oldest in self._session.tuples(query)
        ]

    def finished(self) -> tuple[int, int]:
        """Rows that are kept for people only, and the bytes of their bodies."""
        query = select(func.count(), func.coalesce(func.sum(outbox.c.size_bytes), 0)).where(
            outbox.c.state.in_([OutboxState.CONFIRMED.value, OutboxState.EXPIRED.value])
        )
        ((rows, size),) = self._session.tuples(query)
        return rows, int(size)

    def expendable(self, lane: Lane, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[OutboxRow]:
        """Unsent rows of a lane for which something smaller will do, oldest first."""
        query = _WHOLE.where(_PENDING, outbox.c.lane == lane.value, outbox.c.expendable.is_(True), _NOT_FLYING)
        found = self._session.rows(query.order_by(outbox.c.sequence).limit(limit), {"flying": list(exclude) or _NONE})
        return [_outbox_row(row) for row in found]

    def slim(self, bodies: Mapping[int, bytes]) -> None:
        """Unsent rows get these bodies, by sequence number, and are not expendable any more."""
        for sequence, body in bodies.items():
            mine = outbox_content.c.sequence == sequence
            self._session.write(outbox_content.update().where(mine).values(body=body))
            smaller = {"size_bytes": len(body), "expendable": False}
            self._session.write(outbox.update().where(outbox.c.sequence == sequence).values(smaller))

    def outdated(self, lane: Lane, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[int]:
        """Unsent rows of a lane that a later one on the same topic has made old."""
        mine = (
            select(outbox.c.sequence, outbox_content.c.topic)
            .join_from(outbox, outbox_content, outbox_content.c.sequence == outbox.c.sequence)
            .where(_PENDING, outbox.c.lane == lane.value)
        )
        everything = mine.subquery()
        newest = select(func.max(everything.c.sequence)).group_by(everything.c.topic)
        query = mine.where(outbox.c.sequence.not_in(newest), _NOT_FLYING).order_by(outbox.c.sequence).limit(limit)
        return [row[0] for row in self._session.tuples(query, {"flying": list(exclude) or _NONE})]

    def unsent(self, lane: Lane, limit: int, *, exclude: frozenset[int] = frozenset()) -> list[int]:
        """Unsent rows of a lane, oldest first."""
        query = select(outbox.c.sequence).where(_PENDING, outbox.c.lane == lane.value, _NOT_FLYING)
        found = self._session.tuples(query.order_by(outbox.c.sequence).limit(limit), {"flying": list(exclude) or _NONE})
        return [row[0] for row in found]

    def forget(self, sequences: Sequence[int]) -> int:
        """Delete rows, whatever became of them; how many. What they said is said elsewhere, or worth nothing."""
        gone = 0
        for part in _parts(sequences):
            gone += self._session.write(_DELETE, {"of_sequences": part})
            self._session.write(_DELETE_CONTENT, {"of_sequences": part})
        return gone

    def get(self, sequence: int) -> OutboxRow | None:
        """The row, whatever its state."""
        found = self._session.rows(_WHOLE.where(outbox.c.sequence == sequence))
        return _outbox_row(found[0]) if found else None

    def oldest_pending(self) -> datetime | None:
        """When the oldest row without PUBACK was written."""
        oldest = [self._session.first(_OLDEST, {"of_lane": lane.value}) for lane in Lane]
        return min((from_us(us) for us in oldest if us is not None), default=None)

    def rows(self, *, state: OutboxState | None = None, limit: int = 100) -> list[OutboxRow]:
        """Newest first, for people."""
        newest = select(outbox.c.sequence).order_by(outbox.c.sequence.desc()).limit(limit)
        if state is not None:
            newest = newest.where(outbox.c.state == state.value)
            if state is not OutboxState.CONFIRMED:
                newest = newest.where(text("state <> 'confirmed'"))
        query = _WHOLE.where(outbox.c.sequence.in_(newest)).order_by(outbox.c.sequence.desc())
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
        return self.forget([row[0] for row in self._session.tuples(oldest)])


def _runs(sequences: Iterable[int]) -> list[tuple[int, int]]:
    """Unbroken runs of numbers, as first and last."""
    runs: list[tuple[int, int]] = []
    for number in sorted(sequences):
        if runs and runs[-1][1] >= number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def _parts(sequences: Sequence[int]) -> Iterable[list[int]]:
    return (list(sequences[start : start + _CHUNK]) for start in range(0, len(sequences), _CHUNK))


def _fate(sequence: int, message: OutboundMessage) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "message_id": message.message_id,
        "lane": int(message.lane),
        "ack": message.ack.value,
        "created_us": to_us(message.created_at),
        "order_key": label(message.order_key) or None,
        "expires_us": None if message.expires_at is None else to_us(message.expires_at),
        "size_bytes": len(message.body),
        "expendable": message.expendable,
        "state": OutboxState.PENDING.value,
        "attempts": 0,
        "next_attempt_us": _AT_ONCE,
        "detail": "",
    }


def _content(sequence: int, message: OutboundMessage) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "topic": label(message.topic),
        "body": message.body,
        "retain": message.retain,
        "content_type": label(message.content_type),
        "correlation": label(message.correlation),
        "response_topic": label(message.response_topic),
        "properties": encode_strings(message.properties),
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
        expendable=row["expendable"],
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
