"""Blobs as a repository shows them: found, leased, opened, mounted, unlinked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update

from entrepot.oci.digest import Digest
from entrepot.server.access.audit import record_change
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change, MayRead, Permit, allow_all, may_read_all
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock, microseconds
from entrepot.server.db.statements import HotQuery
from entrepot.server.db.tables import blob, project, repo, repo_blob
from entrepot.server.repos.errors import BlobUnknown
from entrepot.server.repos.limits import DEFAULT_LIMITS, RepositoryLimits
from entrepot.server.repos.links import BlobRow, find_blob, link_blob, renew_lease
from entrepot.server.repos.records import add_usage, write_event
from entrepot.server.repos.repositories import EVERYTHING
from entrepot.server.repos.rows import ensure_repository, require_repository
from entrepot.server.repos.visibility import is_visible
from entrepot.server.storage.readcache import ReadCache
from entrepot.server.storage.store import BlobStore

__all__ = ["Blobs", "StoredBlob"]

_FIND = HotQuery(
    select(blob.c.size, blob.c.phys, blob.c.lease_until)
    .select_from(repo)
    .join(repo_blob, repo_blob.c.repo_id == repo.c.id)
    .join(blob, blob.c.digest == repo_blob.c.digest)
    .where(
        repo.c.name == bindparam("repository"),
        repo.c.deleted_at.is_(None),
        repo_blob.c.digest == bindparam("digest"),
        repo_blob.c.deleted_at.is_(None),
        blob.c.state == "live",
    )
)
_SOURCE = (
    select(repo.c.name)
    .select_from(repo_blob)
    .join(repo, repo.c.id == repo_blob.c.repo_id)
    .where(
        repo_blob.c.digest == bindparam("p_digest"),
        repo_blob.c.deleted_at.is_(None),
        repo.c.deleted_at.is_(None),
        repo.c.name == bindparam("p_name"),
    )
    .with_for_update(read=True, of=repo_blob)
)
MOUNT_CANDIDATES = 64
"""Repositories looked into for a mount that names no source: of the same project, those pushed to last."""
_NEIGHBOURS = (
    select(repo.c.id, repo.c.name)
    .join(project, project.c.id == repo.c.project_id)
    .where(
        project.c.name == bindparam("p_project"),
        project.c.deleted_at.is_(None),
        repo.c.deleted_at.is_(None),
    )
    .order_by(repo.c.pushed_at.desc().nulls_last(), repo.c.id)
    .limit(MOUNT_CANDIDATES)
)
_EVERYBODY = (
    select(repo.c.id, repo.c.name)
    .join(repo_blob, repo_blob.c.repo_id == repo.c.id)
    .where(
        repo_blob.c.digest == bindparam("p_digest"),
        repo_blob.c.deleted_at.is_(None),
        repo.c.deleted_at.is_(None),
    )
    .order_by(repo.c.id)
    .limit(1)
)
"""For whom nothing is hidden: whoever has the blob, wherever."""
_WHO_HAS = select(repo_blob.c.repo_id).where(
    repo_blob.c.repo_id.in_(bindparam("p_repos", expanding=True)),
    repo_blob.c.digest == bindparam("p_digest"),
    repo_blob.c.deleted_at.is_(None),
)
_UNLINK = (
    update(repo_blob)
    .where(
        repo_blob.c.repo_id == bindparam("p_repo"),
        repo_blob.c.digest == bindparam("p_digest"),
        repo_blob.c.deleted_at.is_(None),
    )
    .values(deleted_at=bindparam("p_at"))
)


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob that a repository shows."""

    digest: Digest
    size: int
    phys: str
    lease_until: int = 0


class Blobs:
    """Blobs of all repositories."""

    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        limits: RepositoryLimits = DEFAULT_LIMITS,
        clock: Clock | None = None,
        *,
        cache: ReadCache | None = None,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._cache = cache
        self._clock = clock or catalog.clock
        self._lease = microseconds(limits.lease_s)

    async def find(self, repository: str, digest: Digest) -> StoredBlob | None:
        """The blob if the repository shows it and its bytes are thought good."""
        rows = await self._catalog.hot(_FIND, repository=repository, digest=str(digest))
        return StoredBlob(digest, *rows[0]) if rows else None

    async def renew_lease(self, found: StoredBlob) -> bool:
        """Keep a blob for somebody who may push and has been told that it is here; before telling them.

        Writes only when less than half of the lease is left. False: the blob has just been collected.
        """
        if self._catalog.read_only is not None:
            return True  # nothing is collected either
        now = self._clock.steady()
        if found.lease_until - now > self._lease // 2:
            return True
        return await self._catalog.write(
            _renew, str(found.digest), now + self._lease, durable=False, brief=True
        )

    async def open(
        self, found: StoredBlob, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Bytes `start` up to but not including `end`; close the stream with `aclose()` if not read to its
        end.

        Raises BlobMissing before the first byte; the stream never ends early without an error.
        """
        if self._cache is not None:
            return await self._cache.open(found.phys, found.size, start, end)
        return await self._store.open(found.phys, start, end)

    def file_path(self, found: StoredBlob) -> Path | None:
        """The file with the blob's bytes, when the store has one."""
        return self._store.file_path(found.phys)

    async def signed_url(self, found: StoredBlob, *, expires_s: int) -> str | None:
        """Where the client may fetch the bytes itself, when the store offers that."""
        return await self._store.signed_url(found.phys, expires_s=expires_s)

    async def mount(
        self,
        repository: str,
        digest: Digest,
        from_repository: str | None = None,
        *,
        actor: Actor,
        permit: Permit = allow_all,
        may_read: MayRead = may_read_all,
        visible: Visible = EVERYTHING,
    ) -> StoredBlob | None:
        """Show in `repository` what another one that the actor may pull from shows; durable when this
        returns.

        Without `from_repository` any one will do for who sees all there are; for others one of the same
        project, among those that are `visible`. None when there is none: the client uploads then. How long
        that takes tells nothing of blobs in repositories that the actor may not read. Raises Denied when the
        actor may not push here.
        """
        neighbours = None
        if from_repository is None:
            sees_all = visible.everything and visible.only is None
            neighbours = _EVERYBODY if sees_all else _neighbours(visible)
        return await self._catalog.write(
            self._mount, repository, digest, from_repository, neighbours, actor, permit, may_read, brief=True
        )

    async def delete(
        self, repository: str, digest: Digest, *, actor: Actor, permit: Permit = allow_all
    ) -> None:
        """Show the blob no more in this repository. Raises NameUnknown, BlobUnknown, Denied."""
        await self._catalog.write(
            _delete, repository, str(digest), actor, permit, self._clock.now(), self._clock.steady()
        )

    def _mount(
        self,
        connection: Connection,
        repository: str,
        digest: Digest,
        from_repository: str | None,
        neighbours: Select[Any] | None,
        actor: Actor,
        permit: Permit,
        may_read: MayRead,
    ) -> StoredBlob | None:
        source = from_repository
        if neighbours is not None:
            source = _neighbour_with(connection, neighbours, repository, str(digest))
        if source is None or not _is_source(connection, str(digest), source, may_read):
            return None
        found = find_blob(connection, str(digest))
        if found is None or found.state != "live":
            return None
        now, steady = self._clock.now(), self._clock.steady()
        lease_until = steady + self._lease
        row = ensure_repository(connection, repository, actor=actor, permit=permit, at=now)
        change = Change("mount", repository, new=str(digest))
        permit(connection, change)
        if link_blob(connection, row, str(digest), found.size, at=now, steady=steady):
            record_change(
                connection, change, actor, now, {"from": from_repository} if from_repository else None
            )
        if found.lease_until < lease_until - self._lease // 2:
            renew_lease(connection, str(digest), lease_until)
        return StoredBlob(digest, found.size, found.phys, lease_until)


def _neighbours(visible: Visible) -> Select[Any]:
    return _NEIGHBOURS.where(is_visible(visible))


def _neighbour_with(connection: Connection, neighbours: Select[Any], repository: str, digest: str) -> str:
    """A repository that shows the blob; `repository` itself when none does, so that the same is done then.

    Asking the blob who has it, and then whether each may be read, took the longer the more hidden
    repositories have it: up to 64 decisions in place of none.
    """
    key = {"p_project": repository.partition("/")[0], "p_digest": digest}
    names = {row.id: row.name for row in connection.execute(neighbours, key)}
    having = set(connection.execute(_WHO_HAS, {"p_repos": list(names), "p_digest": digest}).scalars())
    return next((name for id_, name in names.items() if id_ in having), repository)


def _is_source(connection: Connection, digest: str, named: str, may_read: MayRead) -> bool:
    """Leave comes first: what is in a repository that may not be read is not even looked up."""
    key = {"p_digest": digest, "p_name": named}
    return may_read(connection, named) and connection.execute(_SOURCE, key).first() is not None


def _renew(connection: Connection, digest: str, lease_until: int) -> bool:
    renew_lease(connection, digest, lease_until)
    found: BlobRow | None = find_blob(connection, digest)
    return found is not None and found.state == "live"


def _delete(
    connection: Connection, repository: str, digest: str, actor: Actor, permit: Permit, now: int, steady: int
) -> None:
    row = require_repository(connection, repository)
    change = Change("delete-blob", repository, old=digest)
    permit(connection, change)
    found = find_blob(connection, digest)
    key = {"p_repo": row.id, "p_digest": digest, "p_at": steady}
    if found is None or connection.execute(_UNLINK, key).rowcount == 0:
        raise BlobUnknown(repository, digest)
    record_change(connection, change, actor, now)
    write_event(connection, "delete-blob", repository, actor, now, digest=digest)
    add_usage(connection, row.project_id, -found.size)
