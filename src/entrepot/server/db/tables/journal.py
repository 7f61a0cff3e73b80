"""What is written beside every change, in its transaction: the audit row and the event for others."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text, text

from entrepot.server.db.tables.base import Bytewise, Moment, metadata, row_id

audit = Table(
    "audit",
    metadata,
    row_id("seq"),
    Column("at", Moment, nullable=False, index=True),
    Column("principal", Text, nullable=False),
    Column("principal_kind", Text, nullable=False),
    Column("token_id", Text),
    Column("address", Text),
    Column("request_id", Text),
    Column("action", Text, nullable=False),
    Column("repository", Bytewise, index=True),
    Column("tag", Bytewise),
    Column("old", Text),
    Column("new", Text),
    Column("detail", Text),  # JSON
    # Set by the sealing job: rows are chained once they can't be overtaken by a slower transaction.
    Column("sealed_no", BigInteger),
    Column("chain", Text),
    sqlite_autoincrement=True,
)
_SEALED = text("sealed_no IS NOT NULL")
Index("uq_audit_sealed_no", audit.c.sealed_no, unique=True, sqlite_where=_SEALED, postgresql_where=_SEALED)

outbox = Table(
    "outbox",
    metadata,
    row_id(),
    Column("kind", Text, nullable=False),  # push, delete-tag, …
    Column("repository", Bytewise),
    Column("payload", Text, nullable=False),  # JSON
    Column("at", Moment, nullable=False),
    # Delivery is a state of each row: ids are given out before commit, so a high-water mark would skip some.
    Column("state", Text, nullable=False, server_default="new"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Moment),
    Column("leased_until", Moment),
    Column("leased_by", Text),
    Column("done_at", Moment),
    CheckConstraint("state in ('new', 'done', 'dead')", name="state"),
    sqlite_autoincrement=True,
)
Index(
    "ix_outbox_new",
    outbox.c.id,
    sqlite_where=text("state = 'new'"),
    postgresql_where=text("state = 'new'"),
)
_DONE = text("done_at IS NOT NULL")
Index("ix_outbox_done_at", outbox.c.done_at, sqlite_where=_DONE, postgresql_where=_DONE)
