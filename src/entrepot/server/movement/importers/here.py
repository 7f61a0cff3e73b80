"""What this registry knows of what is to come, and the transactions that take it in."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import allow_all
from entrepot.server.db.tables import blob, manifest, tag, tag_event
from entrepot.server.repos.links import StoredBytes, adopt_blob, find_blob, link_blob, renew_lease
from entrepot.server.repos.rows import ensure_repository, find_repository

__all__ = ["Adoption", "KnownRepository", "TagHere", "adopt", "known_repository", "link_known", "live_copy"]


@dataclass(frozen=True, slots=True)
class TagHere:
    """Where a tag points, and who put it there."""

    digest: str
    by: str


@dataclass(frozen=True, slots=True)
class KnownRepository:
    """What is here of a repository."""

    manifests: dict[str, str]
    """`live` or `deleted`, by digest."""
    tags: dict[str, TagHere]
    past_tags: frozenset[str]
    """Every tag that ever was, as far as history is kept."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """A blob that becomes a repository's."""

    repository: str
    digest: str
    size: int
    distrusted: str | None
    """A physical name that holds other bytes than it should."""
    actor: Actor
    now: int
    steady: int
    lease_until: int
    trash_delay: int


def known_repository(connection: Connection, name: str) -> KnownRepository:
    """Of a repository that is not here, nothing."""
    repository = find_repository(connection, name)
    if repository is None:
        return KnownRepository({}, {}, frozenset())
    rows = connection.execute(
        select(manifest.c.digest, manifest.c.deleted_at).where(manifest.c.repo_id == repository.id)
    )
    tags = connection.execute(
        select(tag.c.name, tag.c.digest, tag.c.updated_by).where(tag.c.repo_id == repository.id)
    )
    past = select(tag_event.c.name).where(tag_event.c.repo_id == repository.id).distinct()
    return KnownRepository(
        manifests={row.digest: "live" if row.deleted_at is None else "deleted" for row in rows},
        tags={row.name: TagHere(row.digest, row.updated_by) for row in tags},
        past_tags=frozenset(connection.execute(past).scalars()),
    )


def live_copy(connection: Connection, digest: str) -> tuple[str, int] | None:
    """Physical name and size of a blob that is in service."""
    row = connection.execute(
        select(blob.c.phys, blob.c.size).where(blob.c.digest == digest, blob.c.state == "live")
    ).one_or_none()
    return None if row is None else (row.phys, row.size)


def link_known(connection: Connection, one: Adoption) -> bool:
    """Let the repository show a blob that is here. False when it has just been collected."""
    found = find_blob(connection, one.digest)
    if found is None or found.state != "live":
        return False
    _link(connection, one)
    renew_lease(connection, one.digest, one.lease_until)
    return True


def adopt(connection: Connection, one: Adoption, phys: str) -> None:
    """Durable bytes become a blob that the repository shows."""
    adopt_blob(
        connection,
        StoredBytes(one.digest, one.size, phys),
        distrusted=one.distrusted,
        lease_until=one.lease_until,
        now=one.steady,
        trash_delay=one.trash_delay,
    )
    _link(connection, one)


def _link(connection: Connection, one: Adoption) -> None:
    row = ensure_repository(connection, one.repository, actor=one.actor, permit=allow_all, at=one.now)
    link_blob(connection, row, one.digest, one.size, at=one.now, steady=one.steady)
