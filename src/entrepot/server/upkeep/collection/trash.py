"""Empties the trash: unlinks what has lain there long enough.

A physical name is never used twice, so unlinking can't hit what a push has just written. Unlinking a
missing file is a success, so a sweeper that was killed in between is simply run again, even by two at
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, or_, select, update

from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.copynote import CopyState
from entrepot.server.db.tables import blob, trash
from entrepot.server.storage import keys
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.collection.queries import TRASH_DUE
from entrepot.server.upkeep.integrity.reconcile import is_pair

__all__ = ["SweepReport", "sweep"]

log = get_log(__name__)

PAGE: Final = 100
LEASE_S: Final = 300.0
AT_ONCE: Final = 8
"""Files that are unlinked together."""


@dataclass(slots=True)
class SweepReport:
    """What a run did."""

    files: int = 0
    bytes_freed: int = 0

    def to_json(self) -> dict[str, int]:
        """As a job's result has it."""
        return {"files": self.files, "bytes_freed": self.bytes_freed}


@dataclass(frozen=True, slots=True)
class _Due:
    phys: str
    size: int
    live: bool


async def sweep(
    catalog: Catalog, store: BlobStore, *, by: str, copied: Callable[[], CopyState] | None = None
) -> SweepReport:
    """Unlink everything that is due; nothing in a store that has become another catalog's.

    `copied`: how far the catalog's copy is. A file goes only when it would be due there too.
    """
    report = SweepReport()
    # Durable: a file may go only once the row that gave it up is certainly on the disk.
    while due := await catalog.write(_take, by, catalog.clock.steady(), _behind(copied)):
        if not await is_pair(catalog, store):  # restored or moved: names that are trash here may live there
            log.error("trash stays: the store does not carry this catalog's id and epoch")
            return report
        gate = asyncio.Semaphore(AT_ONCE)

        async def remove(one: _Due, gate: asyncio.Semaphore = gate) -> None:
            async with gate:
                await _unlink(store, one)

        await asyncio.gather(*(remove(one) for one in due))
        await catalog.write(_done, [one.phys for one in due], durable=False)
        report.files += len(due)
        report.bytes_freed += sum(one.size for one in due)
    return report


async def _unlink(store: BlobStore, due: _Due) -> None:
    if due.live:
        # Must not happen: a name goes into the trash only with the row that it was live in. Keep the bytes.
        log.error("live name in trash", phys=due.phys)
    elif keys.is_upload(due.phys):
        await store.abort(due.phys)
    else:
        await store.delete(due.phys)


def _behind(copied: Callable[[], CopyState] | None) -> int:
    """Microseconds."""
    return 0 if copied is None else microseconds(copied().lag_s)


def _take(connection: Connection, by: str, now: int, behind: int) -> list[_Due]:
    rows = connection.execute(TRASH_DUE, {"steady": now, "due": now - behind, "limit": PAGE}).all()
    names = [row.phys for row in rows]
    if not names:
        return []
    connection.execute(
        update(trash)
        .where(trash.c.phys.in_(names))
        .values(leased_by=by, leased_until=now + microseconds(LEASE_S))
    )
    live = _live(connection, names)
    return [_Due(row.phys, row.size or 0, row.phys in live) for row in rows]


def _live(connection: Connection, names: Sequence[str]) -> set[str]:
    """Names that are some blob's bytes, or hold them."""
    below = [blob.c.phys.like(f"{name}/%") for name in names if keys.is_upload(name)]
    found = connection.execute(select(blob.c.phys).where(or_(blob.c.phys.in_(names), *below))).scalars()
    return {name for phys in found for name in names if phys == name or phys.startswith(name + "/")}


def _done(connection: Connection, names: Sequence[str]) -> None:
    connection.execute(delete(trash).where(trash.c.phys.in_(names)))
