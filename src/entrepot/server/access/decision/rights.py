"""Whether anything that decides about access has changed since it was read.

On SQLite that is one cheap look a request. On PostgreSQL it is a query, which all requests that wait at the
same time share; it began after each of them arrived, so what was committed before a request counts for it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from sqlalchemy import select

from entrepot.server.db import Catalog, HotQuery
from entrepot.server.db.tables.access import rights_version

__all__ = ["RightsVersion", "SecretRows"]

MOST_KEPT: Final = 4096
_VERSION: Final = HotQuery(select(rights_version.c.version))


class RightsVersion:
    """One per process."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._is_asked = catalog.dialect == "postgresql"
        self._running: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def current(self) -> int | None:
        """What was read under the same number still holds; None when that can't be told."""
        if not self._is_asked:
            return self._catalog.data_version()
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._ask(self._running))
            self._next.add_done_callback(_looked_at)
        return await asyncio.shield(self._next)

    async def _ask(self, before: asyncio.Task[int] | None) -> int:
        """A query under way may have read before the last change: this one begins after it."""
        if before is not None:
            await asyncio.wait((before,))
        self._running, self._next = self._next, None
        rows = await self._catalog.hot(_VERSION)
        return int(rows[0][0]) if rows else 0


class SecretRows:
    """Rows of secrets by public id, kept while no right has changed; that a secret ended is such a change."""

    def __init__(self, catalog: Catalog, rights: RightsVersion, query: HotQuery) -> None:
        self._catalog = catalog
        self._rights = rights
        self._query = query
        self._version: int | None = None
        self._rows: dict[str, list[tuple[Any, ...]]] = {}

    async def get(self, public_id: str) -> list[tuple[Any, ...]]:
        """One row, or none."""
        version = await self._rights.current()
        if version is None or version != self._version:
            self._rows.clear()
            self._version = version
        found = self._rows.get(public_id)
        if found is None:
            found = await self._catalog.hot(self._query, token_id=public_id)
            if version is not None and version == self._version and found and len(self._rows) < MOST_KEPT:
                self._rows[public_id] = found
        return found


def _looked_at(task: asyncio.Task[int]) -> None:
    """Those who wait get its error; when nobody is left to, it is none."""
    if not task.cancelled():
        task.exception()
