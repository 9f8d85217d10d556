"""What the language model was asked about an incident, what it answered, and what became of it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "steps",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("step_id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_steps"),
        sa.UniqueConstraint("step_id", name="uq_steps_step_id"),
    )
    op.create_index("ix_steps_incident_id_seq", "steps", ["incident_id", "seq"])
    op.create_index("ix_steps_at_us", "steps", ["at_us"])
