"""The tables. What is queried has a column; the whole thing stands beside it as a JSON document.

Instants are integers, microseconds since 1970 UTC (``datetime(ended_us / 1e6, 'unixepoch')`` reads one in SQLite): they
compare alike in every database, and round trips are exact. ``seq`` columns grow by commit: the one writer assigns them.
A change here needs a migration in `migrations/versions` and its revision in `REVISIONS`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""All schema revisions this program knows, oldest first; the last one is the one it works with."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _seq() -> Column[int]:
    return Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False)


def _document() -> Column[str]:
    return Column("document", Text, nullable=False)


counters = Table(
    "counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""The last number given, by counter. Taken in the transaction that uses it, so there are no gaps."""

inspections = Table(
    "inspections",
    metadata,
    _seq(),
    Column("inspection_id", Uuid, nullable=False, unique=True),
    Column("station_id", String, nullable=False),
    Column("part_id", String, nullable=False, index=True),
    Column("product_id", String, nullable=False),
    Column("trigger_id", String, nullable=False),
    Column("lot_id", String),
    Column("evaluation", String, nullable=False),
    Column("disposition", String, nullable=False),
    Column("score", Float),
    Column("triggered_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    _document(),
    Index(None, "ended_us", "evaluation"),
    Index(None, "station_id", "ended_us"),
    Index(None, "station_id", "seq"),
    Index(None, "trigger_id", "triggered_us"),
)

expected_shots = Table(
    "expected_shots",
    metadata,
    Column("shot_id", Uuid, primary_key=True),
    Column("station_id", String, nullable=False, index=True),
    Column("trigger_id", String, nullable=False),
    Column("triggered_us", BigInteger, nullable=False),
    _document(),
    Index(None, "trigger_id", "triggered_us"),
)
"""Shots that were taken and are not answered yet."""

defects = Table(
    "defects",
    metadata,
    Column("inspection_seq", ForeignKey("inspections.seq", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("defect_id", Uuid, nullable=False),
    Column("code", String, nullable=False),
    Column("score", Float),
    Column("x0_px", Float),
    Column("y0_px", Float),
    Column("x1_px", Float),
    Column("y1_px", Float),
    Column("x_mm", Float),
    Column("y_mm", Float),
    Index(None, "code", "inspection_seq"),
    sqlite_with_rowid=False,
)

signals = Table(
    "signals",
    metadata,
    Column("signal_id", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False, unique=True),
    Column("kept", BigInteger, nullable=False),
)
"""``kept`` is an upper bound of the number of samples, for the ring."""

samples = Table(
    "samples",
    metadata,
    Column("signal_id", ForeignKey("signals.signal_id"), primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Float),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    _seq(),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("at_us", BigInteger, nullable=False, index=True),
    Column("subject", String, nullable=False),
    _document(),
)

incidents = Table(
    "incidents",
    metadata,
    _seq(),
    Column("incident_id", Uuid, nullable=False, unique=True),
    Column("revision", Integer, nullable=False),
    Column("key", String, nullable=False, index=True),
    Column("line_id", String, nullable=False),
    Column("station_id", String, nullable=False),
    Column("code", String, nullable=False),
    Column("state", String, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    _document(),
    Index(None, "state", "seq"),
)

incident_revisions = Table(
    "incident_revisions",
    metadata,
    Column("incident_id", Uuid, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    _document(),
)

analyses = Table(
    "analyses",
    metadata,
    _seq(),
    Column("analysis_id", Uuid, nullable=False, index=True),
    Column("incident_id", Uuid, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("decision", String, nullable=False),
    _document(),
    UniqueConstraint("incident_id", "revision"),
)

orders = Table(
    "orders",
    metadata,
    _seq(),
    Column("order_id", Uuid, nullable=False, unique=True),
    Column("number", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("key", String, nullable=False, index=True),
    Column("state", String, nullable=False),
    Column("terminal", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("incident_id", Uuid, nullable=False, index=True),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    _document(),
    Index(None, "terminal", "seq"),
)

order_versions = Table(
    "order_versions",
    metadata,
    _seq(),
    Column("order_id", Uuid, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", String, nullable=False),
    _document(),
    Index(None, "order_id", "seq"),
)

responses = Table(
    "responses",
    metadata,
    _seq(),
    Column("source", String, nullable=False),
    Column("response_id", String, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("event", String, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    _document(),
    UniqueConstraint("source", "response_id"),
    Index(None, "order_id", "seq"),
)

cases = Table(
    "cases",
    metadata,
    _seq(),
    Column("order_id", Uuid, nullable=False, unique=True),
    Column("incident_id", Uuid, nullable=False),
    Column("cause_id", String, nullable=False),
    Column("code", String, nullable=False),
    Column("confirmed_us", BigInteger, nullable=False),
    _document(),
)

outbox = Table(
    "outbox",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("message_id", Uuid, nullable=False, unique=True),
    Column("lane", Integer, nullable=False),
    Column("ack", String, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("order_key", String),
    Column("expires_us", BigInteger),
    Column("size_bytes", Integer, nullable=False),
    Column("expendable", Boolean, nullable=False),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_us", BigInteger, nullable=False),
    Column("puback_us", BigInteger),
    Column("confirmed_us", BigInteger),
    Column("detail", String, nullable=False),
)
"""``order_key`` is NULL where the order does not matter; ``next_attempt_us`` is 0 until a first attempt failed.

Narrow, and indexed only where rows are unfinished: an acknowledgement changes a row, and thousands come in a second."""

_UNFINISHED = text("state <> 'confirmed'")
_WAITING = text("state = 'sent'")
_KEYED = text("order_key IS NOT NULL")
for _columns, _only in (
    (("state", "lane", "sequence"), _UNFINISHED),
    (("expires_us",), _UNFINISHED),
    (("state", "next_attempt_us"), _WAITING),
    (("order_key", "sequence"), _KEYED),
):
    Index(None, *[outbox.c[_name] for _name in _columns], sqlite_where=_only, postgresql_where=_only)

outbox_content = Table(
    "outbox_content",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("topic", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("retain", Boolean, nullable=False),
    Column("content_type", String, nullable=False),
    Column("correlation", String, nullable=False),
    Column("response_topic", String, nullable=False),
    Column("properties", Text, nullable=False),
)
"""What a message of the outbox says: written once, read when it is sent, deleted with its row."""

inbox = Table(
    "inbox",
    metadata,
    _seq(),
    Column("source", String, nullable=False),
    Column("message_id", String, nullable=False),
    Column("topic", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("properties", Text, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("processed", Boolean, nullable=False),
    Column("processed_us", BigInteger),
    Column("outcome", String),
    UniqueConstraint("source", "message_id"),
    Index(None, "processed", "seq"),
)

documents = Table(
    "documents",
    metadata,
    _seq(),
    Column("document_id", Uuid, nullable=False, unique=True),
    Column("kind", String, nullable=False, index=True),
    Column("subject_id", Uuid, index=True),
    Column("made_us", BigInteger, nullable=False),
    _document(),
)

facts = Table(
    "facts",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    _seq(),
    Column("step_id", Uuid, nullable=False, unique=True),
    Column("incident_id", Uuid, nullable=False),
    Column("kind", String, nullable=False),
    Column("at_us", BigInteger, nullable=False, index=True),
    _document(),
    Index(None, "incident_id", "seq"),
)
"""What the language model was asked, and what became of its answers."""

shadow_looks = Table(
    "shadow_looks",
    metadata,
    _seq(),
    Column("inspection_id", Uuid, nullable=False, unique=True),
    Column("station_id", String, nullable=False),
    Column("live", String, nullable=False),
    Column("shadow", String, nullable=False),
    Column("live_evaluation", String, nullable=False),
    Column("evaluation", String, nullable=False),
    Column("at_us", BigInteger, nullable=False, index=True),
    _document(),
    Index(None, "station_id", "shadow", "seq"),
)
"""What shadow models would have said of parts that were answered. ``live`` and ``shadow`` are name, version, sha256."""

audit = Table(
    "audit",
    metadata,
    _seq(),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("before", String, nullable=False),
    Column("after", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("previous_hash", String, nullable=False),
    Column("hash", String, nullable=False),
    Index(None, "subject", "seq"),
)
"""Rows are only added; the database refuses to change or delete one (see migration 0002)."""
