"""Registries that proxy projects fetch from, what they said of their tags, and who fetches what just now."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, LargeBinary, Table, Text, false

from entrepot.server.db.tables.base import Bytewise, Key, Moment, metadata

upstream = Table(
    "upstream",
    metadata,
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("registry", Bytewise, nullable=False),  # as references name it: docker.io; `?ns=` says it
    Column("username", Text),
    Column("sealed", LargeBinary),  # the password, sealed
    Column("inside", Boolean, nullable=False, server_default=false()),  # may have a private address
    Column("whole", Boolean, nullable=False, server_default=false()),  # asked for names of no project too
    Column("allow", Text, nullable=False, server_default=""),  # patterns of its repositories; empty: all
    Column("deny", Text, nullable=False, server_default=""),
    Column("created_at", Moment, nullable=False),
    Column("state", Text, nullable=False, server_default="{}"),  # JSON: what it last answered, its budget
)

upstream_answer = Table(
    "upstream_answer",
    metadata,
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("repository", Bytewise, primary_key=True),  # whole, as here
    Column("tag", Bytewise, primary_key=True),
    Column("digest", Bytewise),  # NULL: there is no such tag
    Column("media_type", Text, nullable=False, server_default=""),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Column("checked_at", Moment, nullable=False),
    sqlite_with_rowid=False,
)

upstream_fetch = Table(
    "upstream_fetch",
    metadata,
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Bytewise, primary_key=True),  # a blob's; of a manifest repository@digest
    Column("phys", Bytewise, nullable=False, server_default=""),  # the bytes that have landed
    Column("size", BigInteger),  # NULL: the upstream has not answered yet
    Column("holder", Text, nullable=False),  # empty: left in good order, to be gone on with
    Column("until", Moment, nullable=False),
    sqlite_with_rowid=False,
)
