"""Checks the database file itself, in the background, so that a start never waits for it.

Damage makes the registry read-only in all its processes: what can be read is served, nothing is changed,
nothing is collected on the word of damaged rows. It ends when a later check finds the file sound: after a
restore, or when it was the memory and not the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from sqlalchemy import Connection, text

from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.errors import CatalogDamaged

__all__ = ["check_integrity", "watch_integrity"]

log = get_log(__name__)
MOST: Final = 20
LOOK_S: Final = 5.0


async def check_integrity(catalog: Catalog, *, thorough: bool = False) -> list[str]:
    """What the database says is wrong with itself, at most MOST lines of a kind; empty when nothing.

    Also lets the registry be read-only, or not any more. PostgreSQL checks its pages itself (data checksums);
    there is nothing to ask here.
    """
    if catalog.dialect != "sqlite":
        return []
    try:
        pages = await catalog.read(_check_pages, thorough)
        references = await catalog.read(_check_references)
    except CatalogDamaged as error:
        pages, references = [error.reason], []
    if pages or references:
        log.error("catalog damaged", problems=pages + references)
    catalog.set_read_only("; ".join(pages[:3]) if pages else None)
    return pages + references


async def watch_integrity(catalog: Catalog, stop: asyncio.Event) -> None:
    """Check at once, and again whenever a process has met damage, until `stop` is set."""
    if catalog.dialect != "sqlite":
        return
    seen: str | None = "not checked yet"
    while not stop.is_set():
        if catalog.read_only != seen:
            with contextlib.suppress(EntrepotError):
                await check_integrity(catalog)
                seen = catalog.read_only
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)


def _check_pages(connection: Connection, thorough: bool) -> list[str]:
    pragma = "integrity_check" if thorough else "quick_check"
    lines = [str(line) for line in connection.execute(text(f"PRAGMA {pragma}({MOST})")).scalars()]
    return [] if lines == ["ok"] else lines


def _check_references(connection: Connection) -> list[str]:
    return [
        f"row {row_id} of {table} refers to a row of {parent} that is not there"
        for table, row_id, parent, _ in connection.execute(text("PRAGMA foreign_key_check")).fetchmany(MOST)
    ]
