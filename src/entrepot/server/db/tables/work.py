"""Background work: jobs, named leases (who may do what only one may), and the processes that are alive."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table, Text, text

from entrepot.server.db.tables.base import Moment, metadata, row_id

job = Table(
    "job",
    metadata,
    row_id(),
    Column("kind", Text, nullable=False),
    Column("key", Text),  # at most one unfinished job of a kind and key
    Column("payload", Text, nullable=False, server_default="{}"),  # JSON
    Column("state", Text, nullable=False, server_default="queued"),
    Column("run_at", Moment, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("leased_until", Moment),
    Column("leased_by", Text),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("progress", Text),  # JSON
    Column("result", Text),  # JSON
    Column("error", Text),
    CheckConstraint("state in ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
    sqlite_autoincrement=True,
)
_OPEN = "state in ('queued', 'running')"
Index("ix_job_open", job.c.run_at, sqlite_where=text(_OPEN), postgresql_where=text(_OPEN))
Index(
    "uq_job_open", job.c.kind, job.c.key, unique=True, sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)
)
Index("ix_job_kind_finished_at", job.c.kind, job.c.finished_at)

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Moment, nullable=False),
    Column("fence", Integer, nullable=False),  # counts up with each new holder
)

node = Table(
    "node",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),  # serve, worker
    Column("version", Text, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False, index=True),
    Column("detail", Text),  # JSON
)
