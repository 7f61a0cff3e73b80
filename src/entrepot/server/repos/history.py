"""Where a tag has been, what it was at a time, and putting it back.

What was deleted or overwritten stays until the undo window ends; restoring clears the tombstones of the
manifest and of everything that it needs, in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from entrepot.oci.digest import Digest
from entrepot.server.access.audit import record_change
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change, Permit
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.tables import blob as blob_table
from entrepot.server.db.tables import (
    manifest,
    manifest_blob,
    manifest_child,
    repo_blob,
    tag,
    tag_event,
)
from entrepot.server.repos.errors import ManifestUnknown
from entrepot.server.repos.immutable import require_mutable
from entrepot.server.repos.manifests import StoredManifest
from entrepot.server.repos.records import add_usage, write_event, write_tag_event
from entrepot.server.repos.rows import RepositoryRow, find_repository, insert_new, require_repository

__all__ = ["History", "TagEvent", "events_of_tag", "manifest_at", "restore_manifest", "restore_tag"]

_EVENTS = (
    select(
        tag_event.c.seq,
        tag_event.c.name,
        tag_event.c.old,
        tag_event.c.new,
        tag_event.c.at,
        tag_event.c.by,
        tag_event.c.restored,
    )
    .where(
        tag_event.c.repo_id == bindparam("p_repo"),
        tag_event.c.name == bindparam("p_name"),
        tag_event.c.seq < bindparam("p_before"),
    )
    .order_by(tag_event.c.seq.desc())
    .limit(bindparam("p_n"))
)
_AT = (
    select(tag_event.c.new)
    .where(
        tag_event.c.repo_id == bindparam("p_repo"),
        tag_event.c.name == bindparam("p_name"),
        tag_event.c.at <= bindparam("p_at"),
    )
    .order_by(tag_event.c.seq.desc())
    .limit(1)
)
_STORED = select(
    manifest.c.media_type,
    manifest.c.size,
    manifest.c.repo_id,
    manifest.c.body,
).where(manifest.c.repo_id == bindparam("p_repo"), manifest.c.digest == bindparam("p_digest"))
# A manifest that was pushed again has a new time: only when it went is certain.
_THERE = _STORED.where(
    or_(manifest.c.deleted_at.is_(None), manifest.c.deleted_at > bindparam("p_at")),
)
_MANIFEST = (
    select(manifest.c.id, manifest.c.size, manifest.c.deleted_at)
    .where(manifest.c.repo_id == bindparam("p_repo"), manifest.c.digest == bindparam("p_digest"))
    .with_for_update()
)
_REVIVE = update(manifest).where(manifest.c.id == bindparam("p_id")).values(deleted_at=None)
_WAS = (
    select(tag_event.c.seq)
    .where(
        tag_event.c.repo_id == bindparam("p_repo"),
        tag_event.c.name == bindparam("p_name"),
        or_(tag_event.c.old == bindparam("p_digest"), tag_event.c.new == bindparam("p_digest")),
    )
    .limit(1)
)
_PUSHED = (
    select(tag_event.c.at, tag_event.c.by)
    .where(
        tag_event.c.repo_id == bindparam("p_repo"),
        tag_event.c.name == bindparam("p_name"),
        tag_event.c.new == bindparam("p_digest"),
        tag_event.c.restored.is_(False),
    )
    .order_by(tag_event.c.seq.desc())
    .limit(1)
)
_CHILDREN = (
    select(manifest_child.c.digest)
    .where(manifest_child.c.manifest_id == bindparam("p_id"))
    .order_by(manifest_child.c.digest)
)
_HIDDEN_BLOBS = (
    select(repo_blob.c.digest, blob_table.c.size)
    .join(manifest_blob, manifest_blob.c.digest == repo_blob.c.digest)
    .join(blob_table, blob_table.c.digest == repo_blob.c.digest)
    .where(
        manifest_blob.c.manifest_id == bindparam("p_id"),
        repo_blob.c.repo_id == bindparam("p_repo"),
        repo_blob.c.deleted_at.is_not(None),
    )
    .order_by(repo_blob.c.digest)
    .with_for_update(of=repo_blob)
)
_SHOW_BLOB = (
    update(repo_blob)
    .where(repo_blob.c.repo_id == bindparam("p_repo"), repo_blob.c.digest == bindparam("p_digest"))
    .values(deleted_at=None)
)
_TAG = (
    select(tag.c.digest)
    .where(tag.c.repo_id == bindparam("p_repo"), tag.c.name == bindparam("p_name"))
    .with_for_update()
)
_NEW_TAG = insert(tag).values(
    repo_id=bindparam("p_repo"),
    name=bindparam("p_name"),
    digest=bindparam("p_digest"),
    created_at=bindparam("p_at"),
    updated_at=bindparam("p_at"),
    updated_by=bindparam("p_by"),
)
_MOVE_TAG = (
    update(tag)
    .where(tag.c.repo_id == bindparam("p_repo"), tag.c.name == bindparam("p_name"))
    .values(
        digest=bindparam("p_digest"),
        version=tag.c.version + 1,
        updated_at=bindparam("p_at"),
        updated_by=bindparam("p_by"),
    )
)
FOREVER = 2**62


@dataclass(frozen=True, slots=True)
class TagEvent:
    """One move of a tag."""

    seq: int
    name: str
    old: str | None
    """None: the tag was new."""
    new: str | None
    """None: the tag was deleted."""
    at: int
    """Microseconds since 1970."""
    by: str
    restored: bool = False
    """It was put back, not pushed."""


class History:
    """What tags were at any time."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def manifest_at(self, repository: str, reference: str | Digest, at: int) -> StoredManifest | None:
        """What the tag was at a time, or the manifest of that digest if it was not deleted by then.

        None when it was nothing, or has been collected.
        """
        return await self._catalog.read(manifest_at, repository, reference, at)


def events_of_tag(
    connection: Connection, repository: str, name: str, before: int, n: int
) -> tuple[list[TagEvent], bool]:
    """The last `n` moves of a tag before the event `before`, newest first, and whether there are older ones.

    Raises NameUnknown.
    """
    row = require_repository(connection, repository)
    key = {"p_repo": row.id, "p_name": name, "p_before": before, "p_n": n + 1}
    events = [TagEvent(**found._mapping) for found in connection.execute(_EVENTS, key)]
    return events[:n], len(events) > n


def manifest_at(
    connection: Connection, repository: str, reference: str | Digest, at: int
) -> StoredManifest | None:
    row = find_repository(connection, repository)
    if row is None:
        return None
    key = {"p_repo": row.id, "p_at": at}
    if isinstance(reference, Digest):
        found = connection.execute(_THERE, {**key, "p_digest": str(reference)}).one_or_none()
        return None if found is None else StoredManifest(reference, *found)
    digest = connection.execute(_AT, {**key, "p_name": reference}).scalar_one_or_none()
    if digest is None:
        return None
    found = connection.execute(_STORED, {"p_repo": row.id, "p_digest": digest}).one_or_none()
    return None if found is None else StoredManifest(Digest.parse(digest), *found)


def restore_tag(
    connection: Connection,
    repository: str,
    name: str,
    digest: str,
    actor: Actor,
    permit: Permit,
    now: int,
    steady: int,
) -> str | None:
    """Point a tag to `digest` again, and bring that back if it was deleted. Returns what the tag was until
    now. When and by whom it was pushed stays as it was.

    The permit is asked for `restore` of the tag (of no tag alone, when it never was that), and for
    `create-tag` or `overwrite-tag` when the tag moves.

    Raises NameUnknown, ManifestUnknown when it has been collected, Denied.
    """
    row = require_repository(connection, repository)
    old = connection.execute(_TAG, {"p_repo": row.id, "p_name": name}).scalar_one_or_none()
    change = Change("restore", repository, name, old, digest)
    permit(connection, change)
    if old != digest:
        move = "create-tag" if old is None else "overwrite-tag"
        permit(connection, Change(move, repository, name, old, digest))
        if old is not None:
            require_mutable(connection, repository, name, old, doing="overwritten")
        key = {"p_repo": row.id, "p_name": name, "p_digest": digest}
        if connection.execute(_WAS, key).first() is None:
            permit(connection, Change("restore", repository, None, old, digest))
    grown = _revive(connection, row, digest)
    if grown is None:
        raise ManifestUnknown(repository, digest)
    if old != digest:
        pushed = connection.execute(
            _PUSHED, {"p_repo": row.id, "p_name": name, "p_digest": digest}
        ).one_or_none()
        values = {
            "p_repo": row.id,
            "p_name": name,
            "p_digest": digest,
            # An event's time is the steady clock's, a tag's the wall clock's.
            "p_at": now if pushed is None else pushed.at + now - steady,
            "p_by": actor.name if pushed is None else pushed.by,
        }
        if old is None:
            insert_new(connection, _NEW_TAG, values)
        else:
            connection.execute(_MOVE_TAG, values)
        write_tag_event(
            connection, row.id, name, old=old, new=digest, at=steady, by=actor.name, restored=True
        )
    record_change(connection, change, actor, now)
    write_event(
        connection,
        "restore",
        repository,
        actor,
        now,
        repository_id=row.id,
        tags=[name],
        digest=digest,
        old=old,
    )
    add_usage(connection, row.project_id, grown, steady)
    return old


def restore_manifest(
    connection: Connection, repository: str, digest: str, actor: Actor, now: int, steady: int
) -> None:
    """Bring a deleted manifest back that had no tag. Raises NameUnknown, ManifestUnknown when it has been
    collected.
    """
    row = require_repository(connection, repository)
    grown = _revive(connection, row, digest)
    if grown is None:
        raise ManifestUnknown(repository, digest)
    record_change(connection, Change("restore", repository, None, None, digest), actor, now)
    write_event(connection, "restore", repository, actor, now, tags=[], digest=digest, old=None)
    add_usage(connection, row.project_id, grown, steady)


def _revive(connection: Connection, repository: RepositoryRow, digest: str) -> int | None:
    """Clear the tombstones of a manifest and what it needs. Returns the bytes that are used again, None if it
    has been collected.
    """
    grown, waiting, seen = 0, [digest], {digest}
    while waiting:
        one = waiting.pop()
        key = {"p_repo": repository.id, "p_digest": one}
        found = connection.execute(_MANIFEST, key).one_or_none()
        if found is None:
            return None
        if found.deleted_at is not None:
            connection.execute(_REVIVE, {"p_id": found.id})
            grown += found.size
        for hidden in connection.execute(_HIDDEN_BLOBS, {**key, "p_id": found.id}).all():
            connection.execute(_SHOW_BLOB, {"p_repo": repository.id, "p_digest": hidden.digest})
            grown += hidden.size
        children = connection.execute(_CHILDREN, {"p_id": found.id}).scalars().all()
        waiting.extend(child for child in children if child not in seen)
        seen.update(children)
    return grown
