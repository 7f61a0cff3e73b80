"""Upstreams as this process knows them: in memory, read again when what is known is a moment old.

So that asking costs a pull of local content nothing, and what another process changed is known soon.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import bindparam, select

from entrepot.errors import EntrepotError
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.statements import HotQuery
from entrepot.server.db.tables import project
from entrepot.server.movement.upstreams import table
from entrepot.server.movement.upstreams.model import Upstream

__all__ = ["UpstreamDirectory"]

KNOWN_S: Final = 2.0
_PROJECT: Final = HotQuery(select(project.c.id).where(project.c.name == bindparam("name")).limit(1))
"""One that is deleted, and can be brought back, too: its names are not another's meanwhile."""
MOST_NAMES: Final = 10_000


class UpstreamDirectory:
    """One for each process."""

    def __init__(self, catalog: Catalog, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalog = catalog
        self._clock = clock
        self._by_project: dict[str, Upstream] = {}
        self._whole: Upstream | None = None
        self._until = 0.0
        self._loading: asyncio.Task[None] | None = None
        self._local: dict[str, tuple[bool, float]] = {}

    async def of(self, repository: str) -> Upstream | None:
        """The upstream that fills the project of a repository."""
        if self._clock() >= self._until:
            await self._load()
        found = self._by_project.get(repository.partition("/")[0])
        return found if found is not None and found.has_names_for(repository) else None

    async def by_registry(self, registry: str) -> Upstream | None:
        """The first that stands for a registry: what `?ns=` says."""
        if self._clock() >= self._until:
            await self._load()
        wanted = registry.lower()
        return next((one for one in self._by_project.values() if one.registry == wanted), None)

    @property
    def whole(self) -> Upstream | None:
        """Who is asked for names of no project here. Waits for nothing: at most a moment old."""
        if self._clock() >= self._until and (self._loading is None or self._loading.done()):
            self._loading = asyncio.ensure_future(self._load_quietly())
        return self._whole

    async def is_local(self, name: str) -> bool:
        """Whether a project of that name is here, or was and can be brought back."""
        known = self._local.get(name)
        now = self._clock()
        if known is not None and now < known[1]:
            return known[0]
        found = bool(await self._catalog.hot(_PROJECT, name=name))
        if len(self._local) >= MOST_NAMES:
            self._local.clear()
        self._local[name] = (found, now + KNOWN_S)
        return found

    def forget(self) -> None:
        """Read again at the next question."""
        self._until = 0.0

    async def _load(self) -> None:
        rows = await self._catalog.hot(table.ALL)
        found = [table.upstream_of(row) for row in rows]
        self._by_project = {one.project: one for one in found}
        self._whole = next((one for one in found if one.whole), None)
        self._until = self._clock() + KNOWN_S

    async def _load_quietly(self) -> None:
        try:
            await self._load()
        except EntrepotError:  # a catalog that can't be read now: requests tell of that themselves
            self._until = self._clock() + KNOWN_S
