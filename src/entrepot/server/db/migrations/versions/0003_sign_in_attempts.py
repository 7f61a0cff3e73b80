"""Failed sign-ins are counted for all processes and nodes together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
serves_previous = True

Bytewise = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "sign_in_attempt",
        sa.Column("user", Bytewise, nullable=False),
        sa.Column("address", Bytewise, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("succeeded_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("user", "address", name=op.f("pk_sign_in_attempt")),
    )
    op.create_index("ix_sign_in_attempt_failed_at", "sign_in_attempt", ["failed_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_sign_in_attempt_failed_at", table_name="sign_in_attempt")
    op.drop_table("sign_in_attempt")
