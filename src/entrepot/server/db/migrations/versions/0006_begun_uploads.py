"""Uploads get a row when something is written to them; that it was is remembered apart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
serves_previous = True

Bytewise = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "upload_begun",
        sa.Column("id", Bytewise, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload_begun")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("upload_begun")
