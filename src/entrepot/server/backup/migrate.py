"""Move a whole registry: SQLite to PostgreSQL, a folder to a bucket, and back, while it is read.

1. Copy blobs that the target lacks, each verified; again and again until little is left. The old registry
   takes pushes meanwhile. What was copied is noted, so that an interrupted run goes on where it was.
2. Hold changes back (pushes wait, then hear 503 with Retry-After; pulls go on), copy the last blobs, and the
   catalog in one transaction with the blobs' new names. Ids stay, and so do tokens, grants and history.
3. Hold on until the old servers have stopped, so that none acknowledges what the new place would not have.
   The old place's mark is raised then: it can't be served by mistake. Nothing in it is deleted.

A run that ends before 3 is done lets the old registry go on as if nothing had been. The next one goes on with
what was copied; rows that the new catalog got are taken again, unless a server has been started on it since.
Uploads under way and the trash stay behind when the store changes: clients begin such uploads again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from entrepot.errors import VerificationFailed
from entrepot.oci.digest import Digest
from entrepot.server.backup.blob_copy import at_once, store_verified
from entrepot.server.backup.errors import TargetInUse
from entrepot.server.backup.hold import changes_held
from entrepot.server.backup.notes import CopiedNames
from entrepot.server.backup.rewrite import Rewrite, clear_rows
from entrepot.server.backup.rows import count_rows, dump_rows, file_pieces, load_rows, read_lines
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.settings import (
    UNFINISHED_MOVE,
    CatalogIdentity,
    clear_setting,
    get_identity,
    get_setting,
    set_setting,
)
from entrepot.server.db.tables import blob
from entrepot.server.storage.errors import BlobMissing, BlobUnreadable
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.integrity.fsck import FsckReport, FsckSettings, fsck
from entrepot.server.upkeep.integrity.sure_store import ensure_it_stores

__all__ = ["Migrated", "Side", "migrate"]

PAGE: Final = 500
FEW: Final = 50
"""So many blobs are copied while changes wait; with more another round goes first."""
MOST_ROUNDS: Final = 5

_BOTH_AT_ONCE: Final = "start the new servers, then stop the old ones: changes wait until then"
_ONE_AFTER_THE_OTHER: Final = (
    "stop the old server, then start the new one: they share a data directory, which one uses at a time"
)


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
    one_directory: bool = False,
    servers_stopped: Callable[[], Awaitable[bool]],
    deep: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Migrated:
    """Move everything from `old` to `new`, whose catalog has the schema and is empty.

    `notes` is a file that remembers copied blobs until the move is done. With `one_directory` both places
    share a data directory, which one server uses at a time. Returns when the old servers have stopped. Raises
    TargetInUse, HoldLost, StorageFailed and others; nothing has been switched over then, and running it again
    goes on.
    """
    identity = await old.catalog.read(get_identity)
    if identity is None:
        raise TargetInUse("the old catalog has never been served", hint="there is nothing to move")
    await _check_target(new, identity, same_store=same_store)
    if not same_store:
        await new.store.prepare()
    with CopiedNames(notes, owner=f"{identity.store_id} {identity.epoch}") as copied:
        move = _Move(old, new, identity, None if same_store else copied, say)
        await move.copy_beforehand()
        say("changes wait now; pulls go on")
        async with changes_held(old.url) as still_held:
            await move.copy_blobs()
            await move.copy_catalog(notes.with_suffix(".rows"), still_held)
            report = move.report
            report.check = await fsck(new.catalog, new.store, FsckSettings(deep=deep))
            if same_store:  # it carries the old epoch until the new servers start, or this ends
                found = report.check.findings
                report.check.findings = [finding for finding in found if finding.kind != "identity"]
            say(f"copied and checked; {_ONE_AFTER_THE_OTHER if one_directory else _BOTH_AT_ONCE}")
            while not await servers_stopped():
                await still_held()
                await asyncio.sleep(0.5)
            await still_held()
            # The old catalog is one that `serve` refuses from now on: its store is newer.
            await old.store.write_identity(identity.store_id, identity.epoch + 1)
            await new.catalog.write(clear_setting, UNFINISHED_MOVE)
        copied.remove()
    return report


async def _check_target(new: Side, identity: CatalogIdentity, *, same_store: bool) -> None:
    """Nothing is lost by filling it. Raises TargetInUse."""
    unfinished = await new.catalog.read(get_setting, UNFINISHED_MOVE) == identity.store_id
    if not unfinished and await new.catalog.read(count_rows) > 0:
        raise TargetInUse(
            "the new catalog is not empty, or servers have been started on it since it was filled",
            hint="name an empty catalog; if the new servers hold this registry already and nothing was "
            "pushed to the old ones since, only stop the old ones",
        )
    marked = await new.store.read_identity()
    if marked is not None and marked.store_id != identity.store_id:
        raise TargetInUse("the new store holds another registry's blobs", hint="name an empty one")
    if not same_store and marked is not None and marked.epoch > identity.epoch + 1:
        raise TargetInUse(
            "the new store is of a later time than the old registry: it was moved or restored since",
            hint="move the other way round, or name an empty store",
        )


class _Move:
    """The copying part of one run."""

    def __init__(
        self,
        old: Side,
        new: Side,
        identity: CatalogIdentity,
        copied: CopiedNames | None,
        say: Callable[[str], None],
    ) -> None:
        """`copied` is None when the store stays."""
        self._old, self._new = old, new
        self._identity = identity
        self._copied = copied
        self._say = say
        self._damaged = set[str]()
        self.report = Migrated()

    async def copy_beforehand(self) -> None:
        """Until few blobs are left."""
        if self._copied is None:
            return
        for number in range(MOST_ROUNDS):
            self._say(f"copying blobs, round {number + 1}; the registry takes pushes meanwhile")
            if await self.copy_blobs() <= FEW:
                return

    async def copy_blobs(self) -> int:
        """Copy live blobs that were not copied yet; returns how many there were."""
        after, count = "", 0
        if self._copied is None:
            return count
        while page := await self._old.catalog.read(_live_blobs, after):
            after = page[-1].digest
            todo = [one for one in page if not await self._is_there(one, self._copied)]
            count += len(todo)
            await at_once(todo, self._copy)
        return count

    async def _is_there(self, one: _Blob, copied: CopiedNames) -> bool:
        name = copied.get(one.phys)
        if name is None:
            return False
        if not copied.is_of_earlier_run(one.phys):
            return True
        if await self._new.store.size(name) != one.size:
            copied.forget(one.phys)
            return False
        copied.add(one.phys, name)
        return True

    async def _copy(self, one: _Blob) -> None:
        assert self._copied is not None
        digest = Digest.parse(one.digest)
        try:
            async with aclosing(await self._old.store.open(one.phys, 0, one.size)) as pieces:
                phys = await store_verified(self._new.store, digest, one.size, pieces)
        except BlobUnreadable:
            # Where all of the disk is gone, perhaps for a moment, nothing may be left behind for good.
            await ensure_it_stores(self._old.store)
            return
        except (BlobMissing, VerificationFailed):
            return  # perhaps collected just now; if the last look at the catalog has it, it is damaged
        self._copied.add(one.phys, phys)
        self.report.blobs += 1
        self.report.bytes += one.size

    async def copy_catalog(self, rows: Path, still_held: Callable[[], Awaitable[None]]) -> None:
        """All rows in one transaction of the new catalog, with the mark that pairs it with its store."""
        identity = self._identity
        rewrite = Rewrite(identity.epoch + 1, self._copied)

        def dump(connection: Connection) -> None:
            with rows.open("wb") as out:
                dump_rows(connection, out)

        def load(connection: Connection) -> int:
            rewrite.begin()
            with rows.open("rb") as source:
                clear_rows(connection)
                loaded = load_rows(connection, read_lines(file_pieces(source)), rewrite)
            set_setting(connection, UNFINISHED_MOVE, identity.store_id)
            return loaded

        try:
            await self._old.catalog.read(dump)
            await still_held()
            self.report.rows = await self._new.catalog.write(load)
        finally:
            await asyncio.to_thread(rows.unlink, missing_ok=True)
        self.report.damaged = tuple(sorted(rewrite.damaged))
        if self._copied is None:
            return  # the new servers raise the mark when they start
        await self._new.store.write_identity(identity.store_id, identity.epoch + 1)
        for phys in self._copied.unused():  # copied, and collected since
            await self._new.store.delete(phys)


def _live_blobs(connection: Connection, after: str) -> list[_Blob]:
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size)
        .where(blob.c.digest > after, blob.c.state == "live")
        .order_by(blob.c.digest)
        .limit(PAGE)
    )
    return [_Blob(row.digest, row.phys, row.size) for row in rows]
