"""Tags, every move a tag ever made, and when it was last pulled."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    false,
)

from entrepot.server.db.tables.base import Bytewise, Key, Moment, metadata, row_id

tag = Table(
    "tag",
    metadata,
    Column("repo_id", Key, primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("digest", Bytewise, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("updated_by", Text, nullable=False),
    ForeignKeyConstraint(["repo_id", "digest"], ["manifest.repo_id", "manifest.digest"], ondelete="RESTRICT"),
    Index("ix_tag_repo_id_digest", "repo_id", "digest"),
    Index("ix_tag_name", "name"),  # for search
    sqlite_with_rowid=False,
)

tag_event = Table(
    "tag_event",
    metadata,
    row_id("seq"),
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), nullable=False),
    Column("name", Bytewise, nullable=False),
    Column("old", Bytewise),  # NULL: the tag was new
    Column("new", Bytewise),  # NULL: the tag was deleted
    Column("at", Moment, nullable=False),
    Column("by", Text, nullable=False),
    Column("restored", Boolean, nullable=False, server_default=false()),  # put back, not pushed
    Index("ix_tag_event_repo_id_name_seq", "repo_id", "name", "seq"),
    Index("ix_tag_event_repo_id_old_at", "repo_id", "old", "at"),
    sqlite_autoincrement=True,
)

tag_pull = Table(
    "tag_pull",
    metadata,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("pulled_at", Moment, nullable=False),
    sqlite_with_rowid=False,
)

tag_pull_day = Table(
    "tag_pull_day",
    metadata,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("day", BigInteger, primary_key=True),  # since 1970, UTC
    Column("count", BigInteger, nullable=False),
    Index("ix_tag_pull_day_day", "day"),
    sqlite_with_rowid=False,
)

# A look at a tag that may be half of a pull (see `repos.pulls`). No keys to other tables: rows live a minute.
pull_look = Table(
    "pull_look",
    metadata,
    Column("repo_id", Key, primary_key=True, autoincrement=False),
    Column("digest", Bytewise, primary_key=True),
    Column("who", Bytewise, primary_key=True),
    Column("name", Bytewise, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("at", Moment, nullable=False),
    sqlite_with_rowid=False,
)
