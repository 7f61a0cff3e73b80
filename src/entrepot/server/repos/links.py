"""Blob rows and the links of repositories to them, inside a transaction.

Storing a blob, in the order that loses nothing: the bytes are durable under a new physical name before this
runs; the row, the link, the lease and the end of the upload are one transaction. The copy that loses goes to
the trash in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, null, select, update
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite understands the same words

from entrepot.server.db.errors import RetryTransaction
from entrepot.server.db.statements import Prepared
from entrepot.server.db.tables import blob, manifest_blob, manifest_child, manifest_missing, repo_blob, trash
from entrepot.server.repos.records import add_usage
from entrepot.server.repos.rows import RepositoryRow

__all__ = [
    "BlobRow",
    "StoredBytes",
    "adopt_blob",
    "link_blob",
    "promote_missing",
    "renew_lease",
    "throw_away",
]

_BLOB = Prepared(
    select(blob.c.phys, blob.c.size, blob.c.state, blob.c.lease_until)
    .where(blob.c.digest == bindparam("p_digest"))
    .with_for_update()
)
_NEW_BLOB = Prepared(
    upsert(blob)
    .values(
        digest=bindparam("p_digest"),
        phys=bindparam("p_phys"),
        size=bindparam("p_size"),
        state="live",
        lease_until=bindparam("p_lease"),
        created_at=bindparam("p_at"),
    )
    .on_conflict_do_nothing(index_elements=[blob.c.digest])
)
_SWAP_BLOB = Prepared(
    update(blob)
    .where(blob.c.digest == bindparam("p_digest"))
    .values(
        phys=bindparam("p_phys"),
        size=bindparam("p_size"),
        state="live",
        lease_until=bindparam("p_lease"),
        checked_at=None,
    )
)
_RENEW = Prepared(
    update(blob)
    .where(
        blob.c.digest == bindparam("p_digest"),
        blob.c.state == "live",
        blob.c.lease_until < bindparam("p_lease"),
    )
    .values(lease_until=bindparam("p_lease"))
)
_TRASH = Prepared(
    insert(trash).values(
        phys=bindparam("p_phys"),
        digest=bindparam("p_digest"),
        size=bindparam("p_size"),
        reason=bindparam("p_reason"),
        trashed_at=bindparam("p_at"),
        delete_after=bindparam("p_after"),
    )
)
_new_link = upsert(repo_blob).values(
    repo_id=bindparam("p_repo"), digest=bindparam("p_digest"), linked_at=bindparam("p_at")
)
_LINK = Prepared(
    _new_link.on_conflict_do_update(
        index_elements=[repo_blob.c.repo_id, repo_blob.c.digest],
        set_={"deleted_at": null(), "linked_at": _new_link.excluded.linked_at},
        where=repo_blob.c.deleted_at.is_not(None),
    )
)
_MISSING = Prepared(
    select(manifest_missing.c.manifest_id).where(
        manifest_missing.c.repo_id == bindparam("p_repo"),
        manifest_missing.c.digest == bindparam("p_digest"),
        manifest_missing.c.kind == bindparam("p_kind"),
    )
)
_FOUND = Prepared(
    delete(manifest_missing).where(
        manifest_missing.c.repo_id == bindparam("p_repo"),
        manifest_missing.c.digest == bindparam("p_digest"),
        manifest_missing.c.kind == bindparam("p_kind"),
    )
)
_REFER = {
    "blob": Prepared(
        insert(manifest_blob).values(
            manifest_id=bindparam("p_manifest"), digest=bindparam("p_digest"), repo_id=bindparam("p_repo")
        )
    ),
    "manifest": Prepared(
        insert(manifest_child).values(
            manifest_id=bindparam("p_manifest"), digest=bindparam("p_digest"), repo_id=bindparam("p_repo")
        )
    ),
}


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes that are durable in the store, verified, and not yet anybody's blob."""

    digest: str
    size: int
    phys: str


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A blob as its row has it."""

    phys: str
    size: int
    state: str
    lease_until: int


def find_blob(connection: Connection, digest: str) -> BlobRow | None:
    """The row of a digest, locked."""
    found = _BLOB.row(connection, {"p_digest": digest})
    return None if found is None else BlobRow(*found)


def adopt_blob(
    connection: Connection,
    stored: StoredBytes,
    *,
    distrusted: str | None,
    lease_until: int,
    now: int,
    trash_delay: int,
) -> str:
    """Make `stored` the blob of its digest unless a good copy is there; returns the live physical name.

    `distrusted` is a physical name whose file was found missing or of the wrong size. The copy that is not
    used goes to the trash.

    Raises RetryTransaction.
    """
    values = {
        "p_digest": stored.digest,
        "p_phys": stored.phys,
        "p_size": stored.size,
        "p_lease": lease_until,
        "p_at": now,
    }
    if _NEW_BLOB.run(connection, values):
        return stored.phys
    row = find_blob(connection, stored.digest)
    if row is None:
        raise RetryTransaction  # it went between the two statements
    if row.state != "live" or row.phys == distrusted or row.size != stored.size:
        values["p_lease"] = max(lease_until, row.lease_until)
        _SWAP_BLOB.run(connection, values)
        throw_away(
            connection,
            row.phys,
            reason="replaced",
            digest=stored.digest,
            size=row.size,
            now=now,
            after=now + trash_delay,
        )
        return stored.phys
    renew_lease(connection, stored.digest, lease_until)
    throw_away(
        connection,
        stored.phys,
        reason="duplicate",
        digest=stored.digest,
        size=stored.size,
        now=now,
        after=now,  # nobody has ever been told of it
    )
    return row.phys


def renew_lease(connection: Connection, digest: str, lease_until: int) -> None:
    """Extend a live blob's lease; never shortens it."""
    _RENEW.run(connection, {"p_digest": digest, "p_lease": lease_until})


def throw_away(
    connection: Connection,
    phys: str,
    *,
    reason: str,
    now: int,
    after: int,
    digest: str | None = None,
    size: int | None = None,
) -> None:
    """Put a physical name into the trash; it is unlinked at the steady time `after`."""
    _TRASH.run(
        connection,
        {
            "p_phys": phys,
            "p_digest": digest,
            "p_size": size,
            "p_reason": reason,
            "p_at": now,
            "p_after": after,
        },
    )


def link_blob(
    connection: Connection, repository: RepositoryRow, digest: str, size: int, *, at: int, steady: int = 0
) -> bool:
    """Let a repository show a blob; manifests that waited for it get their reference. False if it did
    already.
    """
    key = {"p_repo": repository.id, "p_digest": digest}
    if not _LINK.run(connection, {**key, "p_at": at}):
        return False
    promote_missing(connection, repository.id, digest, "blob")
    add_usage(connection, repository.project_id, size, steady)
    return True


def promote_missing(connection: Connection, repo_id: int, digest: str, kind: str) -> None:
    """Turn references that were allowed to be missing into real ones, now that their target is here."""
    key = {"p_repo": repo_id, "p_digest": digest, "p_kind": kind}
    waiting = _MISSING.rows(connection, key)
    if waiting:
        _FOUND.run(connection, key)
        _REFER[kind].run_each(
            connection, [{"p_manifest": one, "p_digest": digest, "p_repo": repo_id} for (one,) in waiting]
        )
