"""Move a whole registry: SQLite to PostgreSQL, a folder to a bucket, and back, while it is read.

1. Copy blobs that the target lacks, each verified; again and again until little is left. The old registry
   takes pushes meanwhile. What was copied is noted, so that an interrupted run goes on where it was.
2. Hold changes back (pushes wait, then hear 503 with Retry-After; pulls go on), copy the last blobs, and the
   catalog in one transaction with the blobs' new names. Ids stay, and so do tokens, grants and history.
3. Hold on until the old servers have stopped, so that none acknowledges what the new place would not have.
   The old place's mark is raised then: it can't be served by mistake. Nothing in it is deleted.

Uploads under way and the trash stay behind when the store changes: clients begin such uploads again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from entrepot.errors import VerificationFailed
from entrepot.oci.digest import Digest
from entrepot.server.db.engine import Catalog
from entrepot.server.db.settings import get_identity
from entrepot.server.db.tables import blob
from entrepot.server.jobs.fsck import FsckReport, FsckSettings, fsck
from entrepot.server.operations.blobcopy import at_once, read_verified, store_verified
from entrepot.server.operations.errors import TargetInUse
from entrepot.server.operations.hold import changes_held
from entrepot.server.operations.rewrite import Rewrite, clear_rows
from entrepot.server.operations.rows import count_rows, dump_rows, file_pieces, load_rows, read_lines
from entrepot.server.storage.base import BlobStore
from entrepot.server.storage.errors import BlobMissing

__all__ = ["Migrated", "Side", "migrate"]

PAGE: Final = 500
FEW: Final = 50
"""So many blobs are copied while changes wait; with more another round goes first."""
MOST_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Side:
    """One place of a registry."""

    url: str
    """Of the catalog."""
    catalog: Catalog
    store: BlobStore


@dataclass(slots=True)
class Migrated:
    """What a run did."""

    blobs: int = 0
    bytes: int = 0
    rows: int = 0
    damaged: tuple[str, ...] = ()
    """Digests whose bytes were missing or wrong already; they answer 404 until pushed again."""
    check: FsckReport | None = None


@dataclass(frozen=True, slots=True)
class _Blob:
    digest: str
    phys: str
    size: int


async def migrate(
    old: Side,
    new: Side,
    notes: Path,
    *,
    same_store: bool,
    servers_stopped: Callable[[], Awaitable[bool]],
    deep: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Migrated:
    """Move everything from `old` to `new`, whose catalog has the schema and is empty.

    `notes` is a file that remembers copied blobs between runs. Returns when the old servers have stopped.
    Raises TargetInUse, HoldLost, StorageFailed and others; nothing has been switched over then, and running
    it again goes on.
    """
    if await new.catalog.read(count_rows):
        raise TargetInUse(
            "the new catalog is not empty",
            hint="empty it, or name another; blobs that an interrupted run copied are remembered",
        )
    report = Migrated()
    with closing(_Notes(notes)) as copied:
        if not same_store:
            for number in range(MOST_ROUNDS):
                say(f"copying blobs, round {number + 1}; the registry takes pushes meanwhile")
                if await _copy_blobs(old, new, copied, report) <= FEW:
                    break
        say("changes wait now; pulls go on")
        async with changes_held(old.url) as still_held:
            if not same_store:
                await _copy_blobs(old, new, copied, report)
            await _copy_catalog(old, new, copied, notes.with_suffix(".rows"), report, same_store, still_held)
            report.check = await fsck(new.catalog, new.store, FsckSettings(deep=deep))
            say("copied and checked; start the new servers, then stop the old ones: changes wait until then")
            while not await servers_stopped():  # noqa: ASYNC110 - other processes; nothing would set an event
                await asyncio.sleep(0.5)
            await still_held()
            await _mark_old(old)
    return report


async def _copy_blobs(old: Side, new: Side, copied: _Notes, report: Migrated) -> int:
    """Copy live blobs that were not copied yet; returns how many there were."""
    after, count = "", 0
    damaged = set(report.damaged)

    async def copy(one: _Blob) -> None:
        digest = Digest.parse(one.digest)
        try:
            source = read_verified(old.store, digest, one.phys, one.size)
            phys = await store_verified(new.store, digest, one.size, source)
        except (BlobMissing, VerificationFailed):
            # The collector may just have taken it; what the catalog says last decides.
            damaged.add(one.digest)
            return
        copied.add(one.phys, phys)
        report.blobs += 1
        report.bytes += one.size

    while page := await old.catalog.read(_live_blobs, after):
        after = page[-1].digest
        todo = [one for one in page if copied.get(one.phys) is None]
        count += len(todo)
        await at_once(todo, copy)
    report.damaged = tuple(sorted(damaged))
    return count


async def _copy_catalog(
    old: Side,
    new: Side,
    copied: _Notes,
    rows: Path,
    report: Migrated,
    same_store: bool,
    still_held: Callable[[], Awaitable[None]],
) -> None:
    """All rows in one transaction of the new catalog, with the mark that pairs it with its store."""
    identity = await old.catalog.read(get_identity)
    if identity is None:
        raise TargetInUse("the old catalog has never been served", hint="there is nothing to move")
    rewrite = Rewrite(identity.epoch + 1, None if same_store else copied.all())

    def dump(connection: Connection) -> None:
        with rows.open("wb") as out:
            dump_rows(connection, out)

    def load(connection: Connection) -> int:
        rewrite.begin()
        with rows.open("rb") as source:
            clear_rows(connection)
            return load_rows(connection, read_lines(file_pieces(source)), rewrite)

    try:
        await old.catalog.read(dump)
        await still_held()
        report.rows = await new.catalog.write(load)
    finally:
        await asyncio.to_thread(rows.unlink, missing_ok=True)
    report.damaged = tuple(sorted(rewrite.damaged))
    if not same_store:  # otherwise the new servers raise the mark when they start
        await new.store.write_identity(identity.store_id, identity.epoch + 1)
        for phys in rewrite.unused():  # copied, and collected since
            await new.store.delete(phys)


async def _mark_old(old: Side) -> None:
    """Make the old catalog one that `serve` refuses: its store is newer."""
    identity = await old.catalog.read(get_identity)
    assert identity is not None
    await old.store.write_identity(identity.store_id, identity.epoch + 1)


def _live_blobs(connection: Connection, after: str) -> list[_Blob]:
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size)
        .where(blob.c.digest > after, blob.c.state == "live")
        .order_by(blob.c.digest)
        .limit(PAGE)
    )
    return [_Blob(row.digest, row.phys, row.size) for row in rows]


class _Notes:
    """Old physical name → new one, in a file that survives this process. A lost note costs a copy."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("CREATE TABLE IF NOT EXISTS copied (old TEXT PRIMARY KEY, new TEXT NOT NULL)")

    def get(self, old: str) -> str | None:
        found = self._file.execute("SELECT new FROM copied WHERE old = ?", (old,)).fetchone()
        return None if found is None else str(found[0])

    def add(self, old: str, new: str) -> None:
        self._file.execute("INSERT OR REPLACE INTO copied VALUES (?, ?)", (old, new))

    def all(self) -> dict[str, str]:
        return dict(self._file.execute("SELECT old, new FROM copied").fetchall())

    def close(self) -> None:
        self._file.close()
