"""Tags are found by their name alone."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
serves_previous = True


def upgrade() -> None:
    op.create_index("ix_tag_name", "tag", ["name"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_tag_name", table_name="tag")
