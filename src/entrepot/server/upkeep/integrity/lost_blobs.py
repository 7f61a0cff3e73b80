"""Blobs whose bytes are gone or wrong: taken out of service, with an alarm that names the tags, and back.

A blob out of service answers 404, so that the next push of an image brings it; where there is somebody to
ask (`Mend`), it is brought back at once, or later when they have it. Every change of that state is here; a
push that brings new bytes goes through `repos.links`, as any does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from sqlalchemy import Connection, exists, literal_column, select, update

from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.journal import add_event
from entrepot.server.db.tables import blob, manifest, manifest_blob, repo, repo_blob
from entrepot.server.repos.links import StoredBytes, adopt_blob, find_blob, throw_away
from entrepot.server.upkeep.integrity.affected_tags import affected_tags
from entrepot.server.upkeep.integrity.faults import Fault
from entrepot.server.upkeep.integrity.read_rate import ByteRate

__all__ = [
    "Damage",
    "Lost",
    "Mend",
    "find_lost",
    "lost_blobs",
    "put_back",
    "put_into_service",
    "take_out_of_service",
]

log = get_log(__name__)

MOST_REPOSITORIES: Final = 20


@dataclass(frozen=True, slots=True)
class Lost:
    """A blob that is out of service although a manifest needs it."""

    digest: str
    phys: str
    """The name its bytes have, or had."""
    size: int
    repositories: tuple[str, ...]
    """Some that show it: where a registry that mirrors this one has it."""


class Mend(Protocol):
    """Brings a blob back."""

    async def __call__(self, lost: Lost, rate: ByteRate | None = None) -> str | None:
        """Put verified bytes back and return where they came from; None when nobody has them.

        Raises nothing for a source that fails. What the store holds under the blob's own name is read at
        `rate`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that was taken out of service."""

    digest: str
    phys: str
    state: str
    """missing or quarantined."""
    reason: str
    tags: tuple[str, ...]
    """`repository:tag` of what can't be pulled any more."""
    repaired_from: str | None = None
    """Where its bytes were found again: it is in service."""

    def to_json(self) -> dict[str, Any]:
        """For reports and events."""
        return {
            "digest": self.digest,
            "phys": self.phys,
            "state": self.state,
            "reason": self.reason,
            "tags": list(self.tags),
            "repaired_from": self.repaired_from,
        }


async def take_out_of_service(
    catalog: Catalog, digest: str, phys: str, fault: Fault, *, mend: Mend | None = None
) -> Damage | None:
    """Let a blob answer 404 until it is pushed again, raise the alarm, and try to bring it back with `mend`.

    None when its row has changed.
    """
    damage = await catalog.write(_take_out, digest, phys, fault, catalog.clock.now())
    if damage is None:
        return None
    log.error("blob damaged", **damage.to_json())
    if mend is None or (lost := await find_lost(catalog, digest)) is None:
        return damage
    return replace(damage, repaired_from=await mend(lost))


def _take_out(connection: Connection, digest: str, phys: str, fault: Fault, now: int) -> Damage | None:
    done = connection.execute(
        update(blob)
        .where(blob.c.digest == digest, blob.c.phys == phys, blob.c.state == "live")
        .values(state=fault.state)
    )
    if not done.rowcount:
        return None
    damage = Damage(digest, phys, fault.state, fault.reason, tuple(affected_tags(connection, digest)))
    add_event(connection, "blob-damaged", damage.to_json(), at=now, audience="registry")
    return damage


def put_into_service(connection: Connection, lost: Lost, origin: str, now: int) -> bool:
    """The bytes under the blob's own name are right again. False when its row has changed."""
    done = connection.execute(
        update(blob)
        .where(blob.c.digest == lost.digest, blob.c.phys == lost.phys, blob.c.state != "live")
        .values(state="live")
    )
    if done.rowcount:
        _tell(connection, lost, origin, now)
    return bool(done.rowcount)


def put_back(
    connection: Connection, lost: Lost, phys: str, origin: str, now: int, steady: int, trash_delay: int
) -> bool:
    """Make `phys` the blob's bytes. False when it was pushed again or collected meanwhile: they are trash."""
    row = find_blob(connection, lost.digest)
    if row is None or row.state == "live":
        throw_away(
            connection,
            phys,
            reason="duplicate",
            digest=lost.digest,
            size=lost.size,
            now=steady,
            after=steady,
        )
        return False
    stored = StoredBytes(lost.digest, lost.size, phys)
    adopt_blob(connection, stored, distrusted=None, lease_until=0, now=steady, trash_delay=trash_delay)
    _tell(connection, lost, origin, now)
    return True


def _tell(connection: Connection, lost: Lost, origin: str, now: int) -> None:
    said = {"digest": lost.digest, "source": origin, "repositories": list(lost.repositories)}
    add_event(connection, "blob-repaired", said, at=now, audience="registry")


async def find_lost(catalog: Catalog, digest: str) -> Lost | None:
    """The blob, if it is out of service and needed."""
    found: list[Lost] = await catalog.read(_lost, digest, 1)
    return found[0] if found else None


async def lost_blobs(catalog: Catalog, limit: int) -> list[Lost]:
    """All such blobs."""
    return await catalog.read(_lost, None, limit)


def _lost(connection: Connection, digest: str | None, limit: int) -> list[Lost]:
    needed = exists().where(  # by way of its links, which have an index that begins with the digest
        repo_blob.c.digest == blob.c.digest,
        manifest_blob.c.repo_id == repo_blob.c.repo_id,
        manifest_blob.c.digest == repo_blob.c.digest,
        manifest.c.id == manifest_blob.c.manifest_id,
        manifest.c.deleted_at.is_(None),
    )
    # In the statement itself: databases don't use a partial index for what comes as a parameter.
    out_of_service = blob.c.state != literal_column("'live'")
    statement = select(blob.c.digest, blob.c.phys, blob.c.size).where(out_of_service, needed)
    if digest is not None:
        statement = statement.where(blob.c.digest == digest)
    rows = connection.execute(statement.order_by(blob.c.digest).limit(limit)).all()
    return [Lost(row.digest, row.phys, row.size, _repositories(connection, row.digest)) for row in rows]


def _repositories(connection: Connection, digest: str) -> tuple[str, ...]:
    names = connection.execute(
        select(repo.c.name)
        .join(repo_blob, repo_blob.c.repo_id == repo.c.id)
        .where(repo_blob.c.digest == digest, repo_blob.c.deleted_at.is_(None), repo.c.deleted_at.is_(None))
        .order_by(repo.c.id)
        .limit(MOST_REPOSITORIES)
    )
    return tuple(names.scalars())
