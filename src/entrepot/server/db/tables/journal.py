"""What is written beside every change, in its transaction: the audit row and the event of the feed."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text, text

from entrepot.server.db.tables.base import Bytewise, Key, Moment, metadata, row_id

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

event = Table(
    "event",
    metadata,
    row_id(),
    # Ids are given out before commit, so whoever followed them would skip what a slower transaction commits
    # late. The sequencer numbers what is committed, without gaps; readers know numbers alone.
    Column("number", BigInteger),
    Column("kind", Text, nullable=False),  # push, delete-tag, …
    Column("kinds", Text, nullable=False),  # all that it is, each between spaces: " push create-tag "
    Column("audience", Text, nullable=False, server_default="repository"),
    Column("project_id", Key),  # the one the name had then; a later one of that name is not meant
    Column("repository", Bytewise),
    Column("payload", Text, nullable=False),  # JSON
    Column("at", Moment, nullable=False),
    CheckConstraint("audience in ('repository', 'project', 'registry')", name="audience"),
    sqlite_autoincrement=True,
)
_UNNUMBERED, _NUMBERED = text("number IS NULL"), text("number IS NOT NULL")
Index("ix_event_new", event.c.id, sqlite_where=_UNNUMBERED, postgresql_where=_UNNUMBERED)
Index("uq_event_number", event.c.number, unique=True, sqlite_where=_NUMBERED, postgresql_where=_NUMBERED)

event_head = Table(
    "event_head",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("newest", BigInteger, nullable=False),  # the last number given
    Column("oldest", BigInteger, nullable=False),  # the first that is still kept
)
