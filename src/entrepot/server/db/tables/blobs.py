"""Blobs, the repositories that may show them, uploads on their way to become blobs, and the trash.

`blob` says which physical copy of a digest is the live one; `repo_blob` is the right of a repository to serve
it. Collection deletes the link first, then the row (both stopped by RESTRICT while something refers to them),
puts the physical name into `trash` in the same transaction, and unlinks later.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, text

from entrepot.server.db.tables.base import Bytewise, Key, Moment, metadata

blob = Table(
    "blob",
    metadata,
    Column("digest", Bytewise, primary_key=True),
    Column("phys", Bytewise, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    # `missing` and `quarantined` blobs answer 404, so that the next push brings the bytes again.
    Column("state", Text, nullable=False, server_default="live"),
    Column("lease_until", Moment, nullable=False),  # not collected before, even if nothing refers to it
    Column("created_at", Moment, nullable=False),
    Column("checked_at", Moment),  # last read back and found right
    CheckConstraint("state in ('live', 'missing', 'quarantined')", name="state"),
)
# Pushes don't touch it: theirs are live.
_OUT_OF_SERVICE = text("state <> 'live'")
Index(
    "ix_blob_out_of_service",
    blob.c.digest,
    sqlite_where=_OUT_OF_SERVICE,
    postgresql_where=_OUT_OF_SERVICE,
)

repo_blob = Table(
    "repo_blob",
    metadata,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="RESTRICT"), primary_key=True),
    Column("digest", Bytewise, ForeignKey("blob.digest", ondelete="RESTRICT"), primary_key=True, index=True),
    Column("linked_at", Moment, nullable=False),
    Column("deleted_at", Moment),
    sqlite_with_rowid=False,
)
Index(
    "ix_repo_blob_deleted_at",
    repo_blob.c.deleted_at,
    sqlite_where=text("deleted_at IS NOT NULL"),
    postgresql_where=text("deleted_at IS NOT NULL"),
)

upload = Table(
    "upload",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("phys", Bytewise, nullable=False, unique=True),
    Column("offset", BigInteger, nullable=False),  # bytes received and recorded: the truth clients are told
    Column("algorithm", Text, nullable=False),
    # What they may come to while a request holds the upload, where the project has a quota.
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    # The digest of those bytes, believed only by a process in the boot that wrote it: what the
    # page cache held is lost with a boot, so after one everything is read again.
    Column("digest_so_far", Bytewise),
    Column("boot_id", Text, nullable=False),
    # A request owns the upload while its claim stands; every write to the row names the claim.
    Column("claim", Text),
    Column("claimed_until", Moment),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("principal", Text, nullable=False, index=True),
    Column("started_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
)

upload_begun = Table(
    "upload_begun",
    metadata,
    # An upload that somebody has written to or ended. One that is not here has no row either: its id says it
    # all, and whoever begins it puts it here, so that only one can. Ids sort by the time they were given.
    Column("id", Bytewise, primary_key=True),
    sqlite_with_rowid=False,
)

trash = Table(
    "trash",
    metadata,
    Column("phys", Bytewise, primary_key=True),  # a blob's or an upload's physical name
    Column("digest", Bytewise),
    Column("size", BigInteger),
    Column("reason", Text, nullable=False),
    Column("trashed_at", Moment, nullable=False),
    Column("delete_after", Moment, nullable=False, index=True),
    Column("leased_until", Moment),  # a sweeper is at it
    Column("leased_by", Text),
)
