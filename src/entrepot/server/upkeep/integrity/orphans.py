"""Finds stored objects that no row of the catalog knows of.

What fsck and the reconcile pass both look at.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables import blob, trash, upload
from entrepot.server.storage import keys
from entrepot.server.storage.driver import StoredObject
from entrepot.server.storage.store import BlobStore

__all__ = ["Stray", "find_strays", "throw_away_strays"]

PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Stray:
    """An object without a row. A young one may just be on its way to its row."""

    phys: str
    size: int
    age_s: float
    """By the more cautious of wall and steady clock; a clock that was set never makes a stray look older.
    """


@dataclass(slots=True)
class Tally:
    """What was looked at on the way."""

    objects: int = 0
    bytes: int = 0


async def find_strays(catalog: Catalog, store: BlobStore, tally: Tally) -> AsyncGenerator[Stray, None]:
    """Every object that is nobody's, blobs and uploads alike. Counts all objects into `tally`."""
    for found in (store.list(), store.list_uploads()):
        async for page in _pages(found):
            known = await catalog.read(_known, [stored.phys for stored in page])
            now = min(catalog.clock.now(), catalog.clock.steady()) / SECOND
            for stored in page:
                tally.objects += 1
                tally.bytes += stored.size
                if stored.phys not in known:
                    yield Stray(stored.phys, stored.size, now - stored.mtime)


async def throw_away_strays(catalog: Catalog, strays: Sequence[Stray], *, reason: str, delay: int) -> int:
    """Put those that are still nobody's into the trash; returns how many."""
    steady = catalog.clock.steady()
    return await catalog.write(_throw_away, list(strays), reason, steady, steady + delay)


async def _pages(found: AsyncIterable[StoredObject]) -> AsyncGenerator[list[StoredObject], None]:
    page: list[StoredObject] = []
    async for stored in found:
        page.append(stored)
        if len(page) >= PAGE:
            yield page
            page = []
    if page:
        yield page


def _known(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of `names` that a blob, an upload or the trash speaks of."""
    folders = {name: name.rpartition("/")[0] for name in names}
    wanted = sorted({*names, *(folder for folder in folders.values() if keys.is_upload(folder))})
    held: set[str] = set()
    for column in (blob.c.phys, upload.c.phys, trash.c.phys):
        held.update(connection.execute(select(column).where(column.in_(wanted))).scalars())
    return {name for name, folder in folders.items() if name in held or folder in held}


def _throw_away(connection: Connection, strays: Sequence[Stray], reason: str, now: int, after: int) -> int:
    known = _known(connection, [stray.phys for stray in strays])
    rows = [
        {
            "phys": stray.phys,
            "size": stray.size,
            "reason": reason,
            "trashed_at": now,
            "delete_after": after,
        }
        for stray in strays
        if stray.phys not in known
    ]
    if rows:
        connection.execute(insert(trash), rows)
    return len(rows)
