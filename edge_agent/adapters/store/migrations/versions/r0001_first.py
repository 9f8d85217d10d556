"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables."""
    _counters_and_facts()
    _inspections()
    _plant()
    _incidents()
    _analyses()
    _orders()
    _answers()
    _outbox()
    _inbox()
    _documents()


def _counters_and_facts() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.create_table(
        "facts",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_facts"),
    )


def _inspections() -> None:
    op.create_table(
        "expected_shots",
        sa.Column("shot_id", sa.Uuid(), nullable=False),
        sa.Column("station_id", sa.String(), nullable=False),
        sa.Column("trigger_id", sa.String(), nullable=False),
        sa.Column("triggered_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("shot_id", name="pk_expected_shots"),
    )
    op.create_index("ix_expected_shots_station_id", "expected_shots", ["station_id"])
    op.create_index("ix_expected_shots_trigger_id_triggered_us", "expected_shots", ["trigger_id", "triggered_us"])
    op.create_table(
        "inspections",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("inspection_id", sa.Uuid(), nullable=False),
        sa.Column("station_id", sa.String(), nullable=False),
        sa.Column("part_id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("trigger_id", sa.String(), nullable=False),
        sa.Column("lot_id", sa.String(), nullable=True),
        sa.Column("evaluation", sa.String(), nullable=False),
        sa.Column("disposition", sa.String(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("triggered_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_inspections"),
        sa.UniqueConstraint("inspection_id", name="uq_inspections_inspection_id"),
    )
    op.create_index("ix_inspections_ended_us_evaluation", "inspections", ["ended_us", "evaluation"], unique=False)
    op.create_index("ix_inspections_station_id_seq", "inspections", ["station_id", "seq"], unique=False)
    op.create_index("ix_inspections_part_id", "inspections", ["part_id"], unique=False)
    op.create_index("ix_inspections_trigger_id_triggered_us", "inspections", ["trigger_id", "triggered_us"])
    op.create_index("ix_inspections_station_id_ended_us", "inspections", ["station_id", "ended_us"], unique=False)
    op.create_table(
        "defects",
        sa.Column("inspection_seq", _NUMBER, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("defect_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("x0_px", sa.Float(), nullable=True),
        sa.Column("y0_px", sa.Float(), nullable=True),
        sa.Column("x1_px", sa.Float(), nullable=True),
        sa.Column("y1_px", sa.Float(), nullable=True),
        sa.Column("x_mm", sa.Float(), nullable=True),
        sa.Column("y_mm", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["inspection_seq"], ["inspections.seq"], name="fk_defects_inspection_seq", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("inspection_seq", "ordinal", name="pk_defects"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_defects_code_inspection_seq", "defects", ["code", "inspection_seq"], unique=False)


def _plant() -> None:
    op.create_table(
        "signals",
        sa.Column("signal_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kept", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("signal_id", name="pk_signals"),
        sa.UniqueConstraint("name", name="uq_signals_name"),
    )
    op.create_table(
        "samples",
        sa.Column("signal_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["signal_id"], ["signals.signal_id"], name="fk_samples_signal_id"),
        sa.PrimaryKeyConstraint("signal_id", "at_us", name="pk_samples"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sa.UniqueConstraint("event_id", name="uq_events_event_id"),
    )
    op.create_index("ix_events_at_us", "events", ["at_us"], unique=False)


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("line_id", sa.String(), nullable=False),
        sa.Column("station_id", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("opened_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_incidents"),
        sa.UniqueConstraint("incident_id", name="uq_incidents_incident_id"),
    )
    op.create_index("ix_incidents_key", "incidents", ["key"], unique=False)
    op.create_index("ix_incidents_state_seq", "incidents", ["state", "seq"], unique=False)
    op.create_table(
        "incident_revisions",
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "revision", name="pk_incident_revisions"),
    )


def _analyses() -> None:
    op.create_table(
        "analyses",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("analysis_id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_analyses"),
        sa.UniqueConstraint("incident_id", "revision", name="uq_analyses_incident_id_revision"),
    )
    op.create_index("ix_analyses_analysis_id", "analyses", ["analysis_id"], unique=False)


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("terminal", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_orders"),
        sa.UniqueConstraint("order_id", name="uq_orders_order_id"),
    )
    op.create_index("ix_orders_incident_id", "orders", ["incident_id"], unique=False)
    op.create_index("ix_orders_key", "orders", ["key"], unique=False)
    op.create_index("ix_orders_terminal_seq", "orders", ["terminal", "seq"], unique=False)
    op.create_table(
        "order_versions",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_order_versions"),
    )
    op.create_index("ix_order_versions_order_id_seq", "order_versions", ["order_id", "seq"], unique=False)


def _answers() -> None:
    op.create_table(
        "responses",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("response_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_responses"),
        sa.UniqueConstraint("source", "response_id", name="uq_responses_source_response_id"),
    )
    op.create_index("ix_responses_order_id_seq", "responses", ["order_id", "seq"], unique=False)
    op.create_table(
        "cases",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("confirmed_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_cases"),
        sa.UniqueConstraint("order_id", name="uq_cases_order_id"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("sequence", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("ack", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("retain", sa.Boolean(), nullable=False),
        sa.Column("order_key", sa.String(), nullable=True),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("correlation", sa.String(), nullable=False),
        sa.Column("response_topic", sa.String(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_us", sa.BigInteger(), nullable=False),
        sa.Column("puback_us", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_us", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_outbox"),
        sa.UniqueConstraint("message_id", name="uq_outbox_message_id"),
    )
    op.create_index("ix_outbox_order_key_sequence", "outbox", ["order_key", "sequence"], unique=False)
    op.create_index("ix_outbox_state_expires_us", "outbox", ["state", "expires_us"], unique=False)
    op.create_index("ix_outbox_state_lane_sequence", "outbox", ["state", "lane", "sequence"], unique=False)
    op.create_index("ix_outbox_state_next_attempt_us", "outbox", ["state", "next_attempt_us"], unique=False)


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("processed", sa.Boolean(), nullable=False),
        sa.Column("processed_us", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_inbox"),
        sa.UniqueConstraint("source", "message_id", name="uq_inbox_source_message_id"),
    )
    op.create_index("ix_inbox_processed_seq", "inbox", ["processed", "seq"], unique=False)


def _documents() -> None:
    op.create_table(
        "documents",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_documents"),
        sa.UniqueConstraint("document_id", name="uq_documents_document_id"),
    )
    op.create_index("ix_documents_kind", "documents", ["kind"], unique=False)
    op.create_index("ix_documents_subject_id", "documents", ["subject_id"], unique=False)
