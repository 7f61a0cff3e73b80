"""Checks the database file itself, in the background, so that a start never waits for it.

Damage makes the registry read-only in all its processes: what can be read is served, nothing is changed,
nothing is collected on the word of damaged rows. It ends when a later check finds the file sound: after a
restore, or when it was the memory and not the disk. So the check comes again, ever more rarely, for as long
as the registry is read-only.

A page that the disk failed to give is no damage: most such errors pass. Only when it fails time after time
does the registry become read-only.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, text

from entrepot.backoff import backoff_s
from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.errors import CatalogDamaged

__all__ = ["check_integrity", "watch_integrity"]

log = get_log(__name__)
MOST: Final = 20
LOOK_S: Final = 5.0
LONGEST_S: Final = 3600.0
UNREADABLE_LOOKS: Final = 3
"""So many checks in a row that the disk lets down make the registry read-only."""
_CODE: Final = re.compile(r"error code\s?=\s?(\d+)")
_NOT_READ: Final = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_INTERRUPT}


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """What a check has found; nothing in it: the file is sound."""

    damaged: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Pages that the disk did not give this time."""
    references: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return self.damaged + self.unreadable + self.references


async def check_integrity(catalog: Catalog, *, thorough: bool = False) -> list[str]:
    """What the database says is wrong with itself, at most MOST lines of a kind; empty when nothing.

    Also lets the registry be read-only, or not any more. PostgreSQL checks its pages itself (data checksums);
    there is nothing to ask here.
    """
    return (await _check(catalog, thorough=thorough)).lines


async def _check(catalog: Catalog, *, thorough: bool = False) -> CheckedFile:
    if catalog.dialect != "sqlite":
        return CheckedFile()
    try:
        verdict = judge(
            await catalog.read(_check_pages, thorough), references=await catalog.read(_check_references)
        )
    except CatalogDamaged as error:
        verdict = CheckedFile(damaged=[error.reason])
    if verdict.damaged:
        log.error("catalog damaged", problems=verdict.lines)
        catalog.set_read_only("; ".join(verdict.damaged[:3]))
    elif verdict.unreadable:
        log.error("catalog could not be read in places, it is checked again", problems=verdict.unreadable)
    else:
        if verdict.references:
            log.error("catalog damaged", problems=verdict.references)
        catalog.set_read_only(None)
    return verdict


def judge(pages: list[str], *, references: list[str]) -> CheckedFile:
    """Damage apart from what could not be read: SQLite tells of both in the same list. Pure."""
    unreadable = [line for line in pages if _was_not_read(line)]
    damaged = [line for line in pages if line not in unreadable]
    if unreadable and damaged:
        # What is said of other pages may follow from the one that is not known: it is asked again.
        damaged, unreadable = [], [*unreadable, *damaged]
    return CheckedFile(damaged, unreadable, references)


def _was_not_read(line: str) -> bool:
    found = _CODE.search(line)
    return found is not None and int(found[1]) & 0xFF in _NOT_READ


async def watch_integrity(catalog: Catalog, stop: asyncio.Event, *, look_s: float = LOOK_S) -> None:
    """Check at once, whenever a process has met damage, and ever more rarely while the registry is read-only
    or could not be read; until `stop` is set.
    """
    if catalog.dialect != "sqlite":
        return
    loop = asyncio.get_running_loop()
    seen: str | None = "not checked yet"
    doubtful, unreadable, next_at = 0, 0, 0.0
    while not stop.is_set():
        if catalog.read_only != seen or (doubtful and loop.time() >= next_at):
            with contextlib.suppress(EntrepotError):
                verdict = await _check(catalog)
                unreadable = unreadable + 1 if verdict.unreadable else 0
                if unreadable >= UNREADABLE_LOOKS and catalog.read_only is None:
                    catalog.set_read_only("the disk fails to read it: " + "; ".join(verdict.unreadable[:3]))
                seen = catalog.read_only
                doubtful = doubtful + 1 if seen is not None or unreadable else 0
                next_at = loop.time() + backoff_s(doubtful, first_s=look_s, longest_s=LONGEST_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), look_s)


def _check_pages(connection: Connection, thorough: bool) -> list[str]:
    pragma = "integrity_check" if thorough else "quick_check"
    rows = [str(row) for row in connection.execute(text(f"PRAGMA {pragma}({MOST})")).scalars()]
    # One row may hold several findings below a headline.
    lines = [line for row in rows for line in row.splitlines() if not line.startswith("*** ")]
    return [] if lines == ["ok"] else lines


def _check_references(connection: Connection) -> list[str]:
    return [
        f"row {row_id} of {table} refers to a row of {parent} that is not there"
        for table, row_id, parent, _ in connection.execute(text("PRAGMA foreign_key_check")).fetchmany(MOST)
    ]
