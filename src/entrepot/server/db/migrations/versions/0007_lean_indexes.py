"""What is rarely set has an index of only the rows where it is, so that pushes don't pay for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
serves_previous = True

# In the order in which pushes take them, so that neither waits for the other in a circle.
_LOCKS = (
    "LOCK TABLE blob IN SHARE MODE",
    "LOCK TABLE audit IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE",
)


def upgrade() -> None:
    _lock()
    _partial("ix_blob_out_of_service", "blob", "digest", "state <> 'live'")
    op.drop_index("ix_audit_unsealed", table_name="audit")
    _rebuild_audit(with_constraint=False)
    _partial("uq_audit_sealed_no", "audit", "sealed_no", "sealed_no IS NOT NULL", unique=True)
    op.drop_index("ix_outbox_done_at", table_name="outbox")
    _partial("ix_outbox_done_at", "outbox", "done_at", "done_at IS NOT NULL")


def downgrade() -> None:
    _lock()
    op.drop_index("ix_outbox_done_at", table_name="outbox")
    op.create_index("ix_outbox_done_at", "outbox", ["done_at"])
    op.drop_index("uq_audit_sealed_no", table_name="audit")
    _rebuild_audit(with_constraint=True)
    _partial("ix_audit_unsealed", "audit", "seq", "sealed_no IS NULL")
    op.drop_index("ix_blob_out_of_service", table_name="blob")


def _lock() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in _LOCKS:
            op.execute(statement)


def _partial(name: str, table: str, column: str, where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], unique=unique, sqlite_where=condition, postgresql_where=condition)


def _rebuild_audit(*, with_constraint: bool) -> None:
    """SQLite makes the table anew; its count of rows goes on where it was."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    last = None
    if sqlite:
        count = sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'audit'")
        last = op.get_bind().execute(count).scalar_one_or_none()
    with op.batch_alter_table("audit", table_kwargs={"sqlite_autoincrement": True}) as audit:
        if with_constraint:
            audit.create_unique_constraint("uq_audit_sealed_no", ["sealed_no"])
        else:
            audit.drop_constraint("uq_audit_sealed_no", type_="unique")
    if sqlite and last is not None:
        op.execute("DELETE FROM sqlite_sequence WHERE name = 'audit'")
        goes_on = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('audit', :last)")
        op.get_bind().execute(goes_on, {"last": last})
