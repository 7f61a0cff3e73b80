"""A backup of a registry that runs, and the way back.

1. Copy the blobs that the place does not have yet.
2. Write down the catalog as one snapshot shows it.
3. Copy the blobs that came in between. They are there: what a snapshot refers to stays on disk for
   `gc.trash_delay` even when it is deleted and collected at once.

So a backup is consistent as of step 2 without stopping anything, and the next one copies only what is new.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from sqlalchemy import Connection, select

from entrepot.errors import VerificationFailed
from entrepot.oci.digest import Digest, Hasher
from entrepot.server.db.engine import Catalog
from entrepot.server.db.settings import get_identity
from entrepot.server.db.tables import blob
from entrepot.server.jobs.fsck import FsckReport, FsckSettings, fsck
from entrepot.server.jobs.scrub import examine
from entrepot.server.operations.archive import Archive, Snapshot
from entrepot.server.operations.blobcopy import at_once, read_verified, store_verified
from entrepot.server.operations.errors import BackupInvalid, BackupMissing, TargetInUse
from entrepot.server.operations.rewrite import Rewrite, clear_rows
from entrepot.server.operations.rows import count_rows, dump_rows, load_rows, read_lines, schema_of
from entrepot.server.storage.base import BlobStore
from entrepot.server.storage.errors import BlobMissing

__all__ = ["BackedUp", "Restored", "back_up", "check_backup", "restore", "store_identity_of"]

PAGE: Final = 500
_PIECE_BYTES: Final = 1 << 20
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A live blob as a snapshot has it."""

    digest: Digest
    phys: str
    size: int


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a run did."""

    snapshot: Snapshot
    copied: int
    copied_bytes: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back."""

    snapshot: Snapshot
    epoch: int
    rows: int
    copied: int
    kept: int
    """Blobs that the store had already, read back and found right."""
    damaged: tuple[str, ...]
    """Digests whose bytes the backup does not have; they answer 404 until pushed again."""
    check: FsckReport


async def store_identity_of(catalog: Catalog) -> str:
    """The id that backups of this registry carry. Raises TargetInUse when it was never served."""
    identity = await catalog.read(get_identity)
    if identity is None:
        raise BackupInvalid("this catalog has never been served", hint="there is nothing to back up")
    return identity.store_id


async def back_up(
    catalog: Catalog, store: BlobStore, archive: Archive, *, say: Say = lambda _: None
) -> BackedUp:
    """Add one snapshot to `archive`. Interrupted, it leaves blobs that the next run does not copy again."""
    copier = _Copier(catalog, store, archive)
    say("copying blobs")
    await copier.copy_all()
    name = datetime.fromtimestamp(catalog.clock.now() / 1e6, UTC).strftime("%Y%m%dT%H%M%SZ")
    with tempfile.TemporaryFile() as rows:
        say("writing down the catalog")
        seen = await catalog.read(_snapshot_rows, rows)
        size = rows.tell()
        say("copying what came in between")
        await copier.copy(seen.blobs)
        rows.seek(0)
        await archive.put_rows(name, _file_pieces(rows), size)
    snapshot = Snapshot(
        name=name,
        store_id=seen.store_id,
        epoch=seen.epoch,
        schema=seen.schema,
        blobs=len(seen.blobs),
        bytes=sum(one.size for one in seen.blobs),
        rows=seen.rows,
        damaged=tuple(sorted(str(digest) for digest in copier.damaged)),
    )
    await archive.put_snapshot(snapshot)
    return BackedUp(snapshot, copier.copied, copier.copied_bytes)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one snapshot of the catalog shows."""

    store_id: str
    epoch: int
    schema: str
    rows: int
    blobs: list[StoredBlob]


def _snapshot_rows(connection: Connection, out: BinaryIO) -> _Seen:
    identity = get_identity(connection)
    if identity is None:
        raise BackupInvalid("this catalog has never been served", hint="there is nothing to back up")
    found = connection.execute(select(blob.c.digest, blob.c.phys, blob.c.size).where(blob.c.state == "live"))
    blobs = [StoredBlob(Digest.parse(row.digest), row.phys, row.size) for row in found]
    out.seek(0)
    out.truncate()
    rows = dump_rows(connection, out)
    return _Seen(identity.store_id, identity.epoch, schema_of(connection), rows, blobs)


class _Copier:
    """Copies blobs that the archive lacks."""

    def __init__(self, catalog: Catalog, store: BlobStore, archive: Archive) -> None:
        self._catalog = catalog
        self._store = store
        self._archive = archive
        self._sure: set[Digest] = set()
        self.copied = 0
        self.copied_bytes = 0
        self.damaged: set[Digest] = set()

    async def copy_all(self) -> None:
        """Every blob that is live now."""
        after = ""
        while page := await self._catalog.read(_live_blobs, after):
            after = str(page[-1].digest)
            await self.copy(page)

    async def copy(self, blobs: list[StoredBlob]) -> None:
        """These. What can't be read is noted in `damaged`, unless a later call can."""
        await at_once((one for one in blobs if one.digest not in self._sure), self._copy)

    async def _copy(self, one: StoredBlob) -> None:
        if not await self._archive.has_blob(one.digest, one.size):
            try:
                pieces = read_verified(self._store, one.digest, one.phys, one.size)
                await self._archive.put_blob(one.digest, one.size, pieces)
            except (BlobMissing, VerificationFailed):
                self.damaged.add(one.digest)
                return
            self.copied += 1
            self.copied_bytes += one.size
        self.damaged.discard(one.digest)
        self._sure.add(one.digest)


async def restore(
    archive: Archive,
    snapshot: Snapshot,
    catalog: Catalog,
    store: BlobStore,
    *,
    overwrite: bool = False,
    say: Say = lambda _: None,
) -> Restored:
    """Bring a snapshot back into an empty catalog with the schema, and a store that is empty or its own.

    Every digest is read back from the store before this returns. The epoch is raised above the one that the
    store carries. With `overwrite` a catalog that is not empty is replaced; its rows are lost. Raises
    TargetInUse and others; the catalog is as it was then.
    """
    if not overwrite and await catalog.read(count_rows) > 0:
        raise TargetInUse("the catalog is not empty", hint="name an empty one, or give --overwrite")
    marked = await store.read_identity()
    if marked is not None and marked.store_id != snapshot.store_id:
        raise TargetInUse("the store is another registry's", hint="name an empty one")
    epoch = max(snapshot.epoch, marked.epoch if marked is not None else 0) + 1
    with tempfile.TemporaryFile() as rows:
        async for piece in archive.get_rows(snapshot):
            rows.write(piece)
        names = _Names(archive, store, reuse=marked is not None)
        say("bringing blobs back")
        await at_once(await asyncio.to_thread(_blobs_in, rows), names.bring)
        rewrite = Rewrite(epoch, names.names)
        say("bringing the catalog back")
        await store.write_identity(snapshot.store_id, epoch)
        loaded = await catalog.write(_load, rows, rewrite)
    say("reading every blob back")
    check = await fsck(catalog, store, FsckSettings(deep=True))
    damaged = tuple(sorted(rewrite.damaged))
    return Restored(snapshot, epoch, loaded, names.copied, names.kept, damaged, check)


class _Names:
    """Old physical names → names in the store that is filled."""

    def __init__(self, archive: Archive, store: BlobStore, *, reuse: bool) -> None:
        self._archive = archive
        self._store = store
        self._reuse = reuse
        self.names: dict[str, str] = {}
        self.copied = 0
        self.kept = 0

    async def bring(self, one: StoredBlob) -> None:
        if self._reuse and await examine(self._store, str(one.digest), one.phys, one.size) is None:
            self.names[one.phys] = one.phys
            self.kept += 1
            return
        try:
            pieces = self._archive.get_blob(one.digest)
            self.names[one.phys] = await store_verified(self._store, one.digest, one.size, pieces)
        except (BackupMissing, VerificationFailed):
            return  # its row says that it is missing
        self.copied += 1


async def check_backup(archive: Archive, snapshot: Snapshot) -> list[str]:
    """Read everything of a snapshot; the digests that can't be restored from it."""
    bad = list[str]()

    async def check(one: StoredBlob) -> None:
        hasher = Hasher(one.digest.algorithm)
        try:
            async for piece in archive.get_blob(one.digest):
                await asyncio.to_thread(hasher.update, piece)
        except (BackupMissing, BackupInvalid):
            bad.append(str(one.digest))
            return
        if hasher.digest() != one.digest:
            bad.append(str(one.digest))

    with tempfile.TemporaryFile() as rows:
        async for piece in archive.get_rows(snapshot):
            rows.write(piece)
        await at_once(await asyncio.to_thread(_blobs_in, rows), check)
    return sorted(bad)


def _blobs_in(rows: BinaryIO) -> list[StoredBlob]:
    """Live blobs among the rows of a snapshot."""
    rows.seek(0)
    found, columns = list[StoredBlob](), list[str]()
    for line in read_lines(_read_pieces(rows)):
        if isinstance(line, dict):
            columns = line["columns"] if line.get("table") == "blob" else []
        elif columns:
            row = dict(zip(columns, line, strict=True))
            if row["state"] == "live":
                found.append(StoredBlob(Digest.parse(row["digest"]), row["phys"], row["size"]))
    return found


def _load(connection: Connection, rows: BinaryIO, rewrite: Rewrite) -> int:
    rewrite.begin()
    rows.seek(0)
    clear_rows(connection)
    return load_rows(connection, read_lines(_read_pieces(rows)), rewrite)


def _live_blobs(connection: Connection, after: str) -> list[StoredBlob]:
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size)
        .where(blob.c.digest > after, blob.c.state == "live")
        .order_by(blob.c.digest)
        .limit(PAGE)
    )
    return [StoredBlob(Digest.parse(row.digest), row.phys, row.size) for row in rows]


def _read_pieces(file: BinaryIO) -> Any:
    while piece := file.read(_PIECE_BYTES):
        yield piece


async def _file_pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
        yield piece
