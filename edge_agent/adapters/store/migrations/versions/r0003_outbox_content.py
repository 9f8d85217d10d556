"""What a message says apart from what became of it: booking an answer no longer rewrites the body."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CONTENT = ("topic", "body", "retain", "content_type", "correlation", "response_topic", "properties")
_OLD_INDEXES = (
    "ix_outbox_order_key_sequence",
    "ix_outbox_state_expires_us",
    "ix_outbox_state_lane_sequence",
    "ix_outbox_state_next_attempt_us",
)
_UNFINISHED = "state <> 'confirmed'"
_WAITING = "state = 'sent'"
_KEYED = "order_key IS NOT NULL"


def upgrade() -> None:
    """Move the content into a table of its own, and index only the rows that are looked for."""
    op.create_table(
        "outbox_content",
        sa.Column("sequence", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("retain", sa.Boolean(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("correlation", sa.String(), nullable=False),
        sa.Column("response_topic", sa.String(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_outbox_content"),
    )
    op.execute(
        "INSERT INTO outbox_content"
        " (sequence, topic, body, retain, content_type, correlation, response_topic, properties)"
        " SELECT sequence, topic, body, retain, content_type, correlation, response_topic, properties FROM outbox"
    )
    op.add_column("outbox", sa.Column("size_bytes", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("outbox", sa.Column("expendable", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE outbox SET size_bytes = length(body)")
    for name in _OLD_INDEXES:
        op.drop_index(name, "outbox")
    for column in _CONTENT:
        op.drop_column("outbox", column)
    _index("ix_outbox_state_lane_sequence", ["state", "lane", "sequence"], _UNFINISHED)
    _index("ix_outbox_expires_us", ["expires_us"], _UNFINISHED)
    _index("ix_outbox_state_next_attempt_us", ["state", "next_attempt_us"], _WAITING)
    _index("ix_outbox_order_key_sequence", ["order_key", "sequence"], _KEYED)


def _index(name: str, columns: list[str], only: str) -> None:
    op.create_index(name, "outbox", columns, sqlite_where=sa.text(only), postgresql_where=sa.text(only))
