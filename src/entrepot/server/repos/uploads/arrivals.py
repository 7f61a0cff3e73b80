"""Uploads on their way, for those who watch. Nothing is decided by what this says."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, or_, select

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock
from entrepot.server.db.tables import upload
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.storage.store import BlobStore

__all__ = ["Arrival", "Arrivals"]

MOST: Final = 50


@dataclass(frozen=True, slots=True)
class Arrival:
    """One upload that has not ended."""

    principal: str
    bytes: int
    """What has arrived so far. On an object store: in requests that have ended or come to this machine."""
    started_at: int
    """The steady clock's, microseconds."""


class Arrivals:
    """What is being pushed, by whichever process of whichever node.

    A client may send a whole layer in one request, and the row learns the offset only at its end; what the
    store holds meanwhile tells how far it has come.
    """

    def __init__(self, catalog: Catalog, store: BlobStore, clock: Clock | None = None) -> None:
        self._catalog = catalog
        self._store = store
        self._clock = clock or catalog.clock

    async def of_repository(self, repo_id: int) -> list[Arrival]:
        """Those that a request writes to or that have bytes, oldest first."""
        now = self._clock.steady()

        def read(connection: Connection) -> list[Any]:
            query = (
                select(
                    upload.c.principal,
                    upload.c.phys,
                    upload.c.offset,
                    upload.c.claimed_until,
                    upload.c.started_at,
                )
                .where(upload.c.repo_id == repo_id, or_(upload.c.claimed_until > now, upload.c.offset > 0))
                .order_by(upload.c.started_at, upload.c.id)
                .limit(MOST)
            )
            return list(connection.execute(query).all())

        rows = await self._catalog.read(read)
        return list(await asyncio.gather(*(self._arrival(row, now) for row in rows)))

    async def _arrival(self, row: Any, now: int) -> Arrival:
        arrived = row.offset
        if row.claimed_until is not None and row.claimed_until > now:
            with contextlib.suppress(StorageFailed):  # the row's own number is true as well
                arrived = max(arrived, await self._store.arriving(row.phys))
        return Arrival(row.principal, arrived, row.started_at)
