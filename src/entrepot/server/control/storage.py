"""What is stored, in figures, and what of it was deleted and can still be brought back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.queries.tombstones import Undoable, list_undoable
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, look
from entrepot.server.db.tables import project, repo, trash, upload
from entrepot.server.upkeep.collection.totals import out_of_service, stored

__all__ = ["Storage", "show_storage"]

MOST_GONE: Final = 50


@dataclass(frozen=True, slots=True)
class Storage:
    """Counts and bytes."""

    blobs: int
    blob_bytes: int
    as_of: int | None
    """When the two above were counted, microseconds since 1970; None: now."""
    damaged: list[tuple[str, int]]
    """State (missing, quarantined) and how many blobs have it."""
    trash: int
    trash_bytes: int
    uploads: int
    upload_bytes: int
    used_bytes: int
    """As projects are charged: each repository for itself."""
    repositories: int
    projects: list[tuple[str, int, int | None]]
    """The biggest: name, bytes, limit."""


async def show_storage(services: Services, actor: Actor) -> tuple[Storage, list[Undoable]]:
    """The figures, and the projects and repositories that were deleted last."""

    def see(t: Transaction) -> tuple[Storage, list[Undoable]]:
        t.require(Action.READ_SYSTEM)
        gone = list_undoable(t.connection, n=MOST_GONE)
        whole = [item for item in gone if item.kind in {"project", "repository"}]
        return _figures(t.connection), whole

    return await look(services, actor, see)


def _figures(connection: Connection, *, n: int = 20) -> Storage:
    live = stored(connection)
    trashed: Any = connection.execute(select(func.count(), func.coalesce(func.sum(trash.c.size), 0))).one()
    uploads: Any = connection.execute(select(func.count(), func.coalesce(func.sum(upload.c.offset), 0))).one()
    biggest = connection.execute(
        select(project.c.name, project.c.usage_bytes, project.c.quota_bytes)
        .where(project.c.deleted_at.is_(None))
        .order_by(project.c.usage_bytes.desc(), project.c.name)
        .limit(n)
    )
    used = select(func.coalesce(func.sum(project.c.usage_bytes), 0)).where(project.c.deleted_at.is_(None))
    return Storage(
        blobs=live.blobs,
        blob_bytes=live.size,
        as_of=live.as_of,
        damaged=out_of_service(connection),
        trash=trashed[0],
        trash_bytes=int(trashed[1]),
        uploads=uploads[0],
        upload_bytes=int(uploads[1]),
        used_bytes=int(connection.execute(used).scalar_one()),
        repositories=int(
            connection.execute(select(func.count()).where(repo.c.deleted_at.is_(None))).scalar_one()
        ),
        projects=[(name, used_bytes, limit) for name, used_bytes, limit in biggest],
    )
