"""Projects and repositories. A row's id is its generation: a name used again gets another id."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Table,
    Text,
    false,
    text,
)

from entrepot.server.db.tables.base import Bytewise, Key, Moment, metadata, row_id

project = Table(
    "project",
    metadata,
    row_id(),
    Column("name", Bytewise, nullable=False),  # the first component of its repositories' names
    Column("kind", Text, nullable=False, server_default="local"),
    Column("visibility", Text, nullable=False, server_default="private"),
    Column("usage_bytes", BigInteger, nullable=False, server_default="0"),  # see repos.usage
    Column("quota_bytes", BigInteger),  # NULL: no limit
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text),
    Column("deleted_at", Moment),
    CheckConstraint("kind in ('local', 'proxy')", name="kind"),
    CheckConstraint("visibility in ('private', 'signed-in', 'public')", name="visibility"),
    sqlite_autoincrement=True,
)
Index(
    "uq_project_name_live",
    project.c.name,
    unique=True,
    sqlite_where=text("deleted_at IS NULL"),
    postgresql_where=text("deleted_at IS NULL"),
)

repo = Table(
    "repo",
    metadata,
    row_id(),
    Column("project_id", Key, ForeignKey("project.id", ondelete="RESTRICT"), nullable=False, index=True),
    Column("name", Bytewise, nullable=False),  # whole: comps/prod/nginx
    # Of a project of the kind `proxy`. Here too, so that a pull learns it from the row it reads anyway.
    Column("proxied", Boolean, nullable=False, server_default=false()),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text),
    Column("pushed_at", Moment),  # the last manifest pushed
    Column("deleted_at", Moment),
    sqlite_autoincrement=True,
)
Index(
    "uq_repo_name_live",
    repo.c.name,
    unique=True,
    sqlite_where=text("deleted_at IS NULL"),
    postgresql_where=text("deleted_at IS NULL"),
)
