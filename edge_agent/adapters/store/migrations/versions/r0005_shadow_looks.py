"""What shadow models would have said of parts that were answered."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "shadow_looks",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("inspection_id", sa.Uuid(), nullable=False),
        sa.Column("station_id", sa.String(), nullable=False),
        sa.Column("live", sa.String(), nullable=False),
        sa.Column("shadow", sa.String(), nullable=False),
        sa.Column("live_evaluation", sa.String(), nullable=False),
        sa.Column("evaluation", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_shadow_looks"),
        sa.UniqueConstraint("inspection_id", name="uq_shadow_looks_inspection_id"),
    )
    op.create_index("ix_shadow_looks_station_id_shadow_seq", "shadow_looks", ["station_id", "shadow", "seq"])
    op.create_index("ix_shadow_looks_at_us", "shadow_looks", ["at_us"])
