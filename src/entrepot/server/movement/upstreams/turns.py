"""A manifest is fetched by one process of all: the others wait for it to be here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.movement.upstreams import fetches
from entrepot.server.movement.upstreams.fetches import FetchRow
from entrepot.server.repos.uploads.holder import is_dead, new_claim

__all__ = ["one_of_all"]

LOOK_S: Final = 0.02
HELD_S: Final = 30.0
"""After so long whoever holds the turn is not waited for: a manifest may then be fetched twice."""


@asynccontextmanager
async def one_of_all(
    catalog: Catalog, project_id: int, key: str, is_here: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bool]:
    """True in the block for who has to fetch; False when somebody else has done it meanwhile."""
    dead: str | None = None
    claim = new_claim()
    while not (row := await _take(catalog, project_id, key, claim, dead)).mine:
        holder = row.holder
        while not _is_free(row, holder, catalog):
            await asyncio.sleep(LOOK_S)
            if await is_here():
                yield False
                return
            rows: list[tuple[Any, ...]] = await catalog.hot(fetches.FETCH, p_project=project_id, p_digest=key)
            if not rows:
                break
            row = FetchRow(*rows[0])
        dead = holder if is_dead(holder) else None
    try:
        # It may have come between the caller's look and the turn.
        yield not await is_here()
    finally:
        with contextlib.suppress(CatalogUnavailable):
            await catalog.write(fetches.give_back, project_id, key, claim, durable=False, brief=True)


async def _take(catalog: Catalog, project_id: int, key: str, claim: str, dead: str | None) -> FetchRow:
    now = catalog.clock.steady()
    until = now + microseconds(HELD_S)
    return await catalog.write(
        fetches.take, project_id, key, claim, dead, now, until, durable=False, brief=True
    )


def _is_free(row: FetchRow, holder: str, catalog: Catalog) -> bool:
    return row.holder != holder or row.until <= catalog.clock.steady() or is_dead(holder)
