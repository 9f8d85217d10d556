"""Messages from the plant, committed before they are acknowledged."""

from datetime import datetime

from sqlalchemy import RowMapping, bindparam, select

from edge_agent.adapters.store.codec import decode_strings, encode_strings, from_us, label, to_us
from edge_agent.adapters.store.schema import inbox
from edge_agent.adapters.store.session import Session
from edge_agent.domain.message import InboundMessage

PRUNE_BATCH = 5_000

_KNOWN = select(inbox.c.seq).where(
    inbox.c.source == bindparam("from_source"), inbox.c.message_id == bindparam("with_id")
)
_OUTCOME = select(inbox.c.outcome).where(
    inbox.c.source == bindparam("from_source"), inbox.c.message_id == bindparam("with_id")
)
_ADD = inbox.insert()


class SqlInbox:
    """Implements ``ports.Inbox``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, message: InboundMessage, *, outcome: str | None = None) -> bool:
        """False for a duplicate of (source, message_id). With ``outcome`` it is processed already."""
        source, message_id = label(message.source), label(message.message_id)
        if self._session.first(_KNOWN, {"from_source": source, "with_id": message_id}) is not None:
            return False
        row = {
            "seq": self._session.take("inbox"),
            "source": source,
            "message_id": message_id,
            "topic": label(message.topic),
            "body": message.body,
            "properties": encode_strings(message.properties),
            "received_us": to_us(message.received_at),
            "processed": outcome is not None,
        }
        if outcome is not None:
            row |= {"processed_us": to_us(self._session.clock.now()), "outcome": label(outcome)}
        self._session.write(_ADD, row)
        return True

    def outcome(self, source: str, message_id: str) -> str | None:
        """What became of a message; None for one that is not known, or not processed yet."""
        known: str | None = self._session.first(_OUTCOME, {"from_source": label(source), "with_id": label(message_id)})
        return known

    def unprocessed(self, limit: int) -> list[tuple[int, InboundMessage]]:
        """Oldest first, with the store's row number."""
        query = select(inbox).where(inbox.c.processed.is_(False)).order_by(inbox.c.seq).limit(limit)
        return [(row["seq"], _message(row)) for row in self._session.rows(query)]

    def mark_processed(self, row: int, *, outcome: str) -> None:
        """Done with it; ``outcome`` is for people."""
        done = {"processed": True, "processed_us": to_us(self._session.clock.now()), "outcome": label(outcome)}
        self._session.write(inbox.update().where(inbox.c.seq == row).values(done))

    def prune(self, before: datetime) -> int:
        """Delete processed messages received before this, a bounded batch: call again until it returns 0.

        A duplicate of a deleted one is taken for new: keep them for longer than the broker keeps a session.
        """
        oldest = (
            select(inbox.c.seq)
            .where(inbox.c.processed.is_(True), inbox.c.received_us < to_us(before))
            .order_by(inbox.c.seq)
            .limit(PRUNE_BATCH)
        )
        return self._session.write(inbox.delete().where(inbox.c.seq.in_(oldest)))


def _message(row: RowMapping) -> InboundMessage:
    return InboundMessage(
        source=row["source"],
        message_id=row["message_id"],
        topic=row["topic"],
        body=bytes(row["body"]),
        received_at=from_us(row["received_us"]),
        properties=decode_strings(row["properties"]),
    )
