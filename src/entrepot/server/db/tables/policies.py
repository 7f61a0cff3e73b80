"""Policies as written, every version of them, what was shown of a change, and what retention did."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table, Text

from entrepot.server.db.tables.base import Bytewise, Key, Moment, metadata, row_id

policy = Table(
    "policy",
    metadata,
    Column("scope", Bytewise, primary_key=True),  # a project's name; empty: the registry
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),  # TOML, as it was given
    sqlite_with_rowid=False,
)

policy_version = Table(
    "policy_version",
    metadata,
    Column("scope", Bytewise, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("by", Text, nullable=False),
)

# What somebody was shown before they applied a text: the last for each scope and text.
policy_preview = Table(
    "policy_preview",
    metadata,
    Column("scope", Bytewise, primary_key=True),
    Column("text_hash", Text, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("shown", Text, nullable=False),  # JSON
)

retention_run = Table(
    "retention_run",
    metadata,
    row_id(),
    Column("state", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("by", Text, nullable=False),
    Column("kept", Key, nullable=False),
    Column("removed", Key, nullable=False, server_default="0"),
    Column("reason", Text),  # why it waits or failed
    Column("rows", Text, nullable=False),  # JSON: what was to go
    CheckConstraint("state in ('running', 'done', 'waiting', 'failed', 'undone')", name="state"),
    Index("ix_retention_run_at", "at"),
    sqlite_autoincrement=True,
)
