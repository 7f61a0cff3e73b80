"""Manifests with their bytes, and what they refer to.

The foreign keys of `manifest_blob` and `manifest_child` are the last word on what is in use: RESTRICT makes
collection fail while a manifest refers to something, and a push fail when what it refers to has just gone.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from entrepot.server.db.tables.base import Bytewise, Key, Moment, metadata, row_id

manifest = Table(
    "manifest",
    metadata,
    row_id(),
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="RESTRICT"), nullable=False),
    Column("digest", Bytewise, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("artifact_type", Text),  # artifactType, else the config's media type
    Column("subject", Bytewise),
    Column("annotations", Text),  # JSON, only of a referrer: what its descriptor in the list shows
    Column("config", Bytewise),  # digest of the config blob: an image's ID
    Column("depth", Integer, nullable=False, server_default="0"),  # 0, or 1 + the deepest child of an index
    Column("total_size", BigInteger, nullable=False),  # with config and layers, each digest once
    Column("pushed_at", Moment, nullable=False),
    Column("pushed_by", Text, nullable=False),
    Column("pulled_at", Moment),
    Column("deleted_at", Moment),
    # Last, so that SQLite reads a row without following it into overflow pages.
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("repo_id", "digest"),
    sqlite_autoincrement=True,
)
Index(
    "ix_manifest_subject",
    manifest.c.repo_id,
    manifest.c.subject,
    manifest.c.digest,
    sqlite_where=text("subject IS NOT NULL"),
    postgresql_where=text("subject IS NOT NULL"),
)
Index(
    "ix_manifest_deleted_at",
    manifest.c.deleted_at,
    sqlite_where=text("deleted_at IS NOT NULL"),
    postgresql_where=text("deleted_at IS NOT NULL"),
)
Index("ix_manifest_digest", manifest.c.digest)

manifest_blob = Table(
    "manifest_blob",
    metadata,
    Column("manifest_id", Key, ForeignKey("manifest.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Bytewise, primary_key=True),
    Column("repo_id", Key, nullable=False),
    ForeignKeyConstraint(
        ["repo_id", "digest"], ["repo_blob.repo_id", "repo_blob.digest"], ondelete="RESTRICT"
    ),
    Index("ix_manifest_blob_repo_id_digest", "repo_id", "digest"),
    sqlite_with_rowid=False,
)

manifest_child = Table(
    "manifest_child",
    metadata,
    Column("manifest_id", Key, ForeignKey("manifest.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Bytewise, primary_key=True),
    Column("repo_id", Key, nullable=False),
    ForeignKeyConstraint(["repo_id", "digest"], ["manifest.repo_id", "manifest.digest"], ondelete="RESTRICT"),
    Index("ix_manifest_child_repo_id_digest", "repo_id", "digest"),
    sqlite_with_rowid=False,
)

manifest_missing = Table(
    "manifest_missing",
    metadata,
    Column("manifest_id", Key, ForeignKey("manifest.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Bytewise, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("repo_id", Key, nullable=False),
    CheckConstraint("kind in ('blob', 'manifest')", name="kind"),
    Index("ix_manifest_missing_repo_id_digest", "repo_id", "digest"),
    sqlite_with_rowid=False,
)
