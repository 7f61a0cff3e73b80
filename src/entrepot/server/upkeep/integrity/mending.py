"""What scrub and fsck ask for when a blob's bytes are gone or wrong: somebody who brings them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection, exists, literal_column, select

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.tables import blob, manifest, manifest_blob, repo, repo_blob
from entrepot.server.upkeep.integrity.read_rate import ByteRate

__all__ = ["Lost", "Mend", "find_lost", "lost_blobs"]

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
