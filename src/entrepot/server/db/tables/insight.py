"""What was read out of content: lists of files and the like. All of it may be deleted and is made again.

No foreign keys: collection must not wait for it; rows whose content has gone are swept by the job that makes
them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text

from entrepot.server.db.tables.base import Bytewise, Moment, metadata

derived = Table(
    "derived",
    metadata,
    Column("kind", Text, primary_key=True),  # layer-files, image-files
    Column("digest", Bytewise, primary_key=True),  # of the layer's blob, or of the image's manifest
    Column("version", Integer, nullable=False),  # of the format; what has another one is made again
    Column("state", Text, nullable=False),
    Column("object", Bytewise),  # physical name in the store
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("reason", Text),  # why it failed or was left out, for people
    Column("detail", Text),  # JSON
    Column("made_at", Moment, nullable=False),
    CheckConstraint("state in ('ready', 'failed', 'skipped')", name="state"),
    Index("ix_derived_made_at", "made_at"),
    sqlite_with_rowid=False,
)
