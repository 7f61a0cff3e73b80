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
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import Connection, select

from entrepot.errors import VerificationFailed
from entrepot.oci.digest import Digest, Hasher
from entrepot.server.backup.archive import BackupArchive, BackupSnapshot
from entrepot.server.backup.blob_copy import at_once, read_verified, store_verified
from entrepot.server.backup.errors import BackupInvalid, BackupMissing, TargetInUse
from entrepot.server.backup.notes import CopiedNames
from entrepot.server.backup.rewrite import Rewrite, clear_rows
from entrepot.server.backup.rows import (
    count_rows,
    dump_rows,
    file_pieces,
    load_rows,
    read_lines,
    schema_of,
)
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.settings import get_identity
from entrepot.server.db.tables import blob
from entrepot.server.storage.errors import BlobMissing, BlobUnreadable
from entrepot.server.storage.store import BlobStore, StoreIdentity
from entrepot.server.upkeep.integrity.faults import examine
from entrepot.server.upkeep.integrity.fsck import FsckReport, FsckSettings, fsck
from entrepot.server.upkeep.nodes import list_nodes

__all__ = ["BackedUp", "Restored", "back_up", "check_backup", "restore", "store_identity_of"]

PAGE: Final = 500
_PIECE_BYTES: Final = 1 << 20
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LiveBlob:
    """A live blob as a snapshot has it."""

    digest: Digest
    phys: str
    size: int


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a run did."""

    snapshot: BackupSnapshot
    copied: int
    copied_bytes: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back."""

    snapshot: BackupSnapshot
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
    catalog: Catalog,
    store: BlobStore,
    archive: BackupArchive,
    *,
    secret: bytes | None = None,
    say: Say = lambda _: None,
) -> BackedUp:
    """Add one snapshot to `archive`, and `secret` beside it when that is encrypted.

    Interrupted, it leaves blobs that the next run does not copy again.
    """
    copier = _Copier(catalog, store, archive)
    say("copying blobs")
    await copier.copy_all()
    name = datetime.fromtimestamp(catalog.clock.now() / 1e6, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    with tempfile.TemporaryFile() as rows:
        say("writing down the catalog")
        seen = await catalog.read(_write_rows, rows)
        size = rows.tell()
        say("copying what came in between")
        copier.damaged.clear()  # what the catalog has now is what counts
        counted = _Counted()
        await copier.copy(counted.each(_blobs_in(rows)))
        rows.seek(0)
        rows_digest = await archive.put_rows(name, _file_pieces(rows), size)
    secret_digest = "" if secret is None else await archive.put_secret(name, secret)
    snapshot = BackupSnapshot(
        name=name,
        store_id=seen.store_id,
        epoch=seen.epoch,
        schema=seen.schema,
        blobs=counted.blobs,
        bytes=counted.bytes,
        rows=seen.rows,
        rows_digest=rows_digest,
        secret_digest=secret_digest,
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


def _write_rows(connection: Connection, out: BinaryIO) -> _Seen:
    identity = get_identity(connection)
    if identity is None:
        raise BackupInvalid("this catalog has never been served", hint="there is nothing to back up")
    out.seek(0)
    out.truncate()
    rows = dump_rows(connection, out)
    return _Seen(identity.store_id, identity.epoch, schema_of(connection), rows)


class _Counted:
    """How many blobs went by, and their bytes."""

    def __init__(self) -> None:
        self.blobs = 0
        self.bytes = 0

    def each(self, blobs: Iterable[LiveBlob]) -> Iterator[LiveBlob]:
        for one in blobs:
            self.blobs += 1
            self.bytes += one.size
            yield one


class _Copier:
    """Copies blobs that the archive lacks."""

    def __init__(self, catalog: Catalog, store: BlobStore, archive: BackupArchive) -> None:
        self._catalog = catalog
        self._store = store
        self._archive = archive
        self.copied = 0
        self.copied_bytes = 0
        self.damaged: set[Digest] = set()

    async def copy_all(self) -> None:
        """Every blob that is live now."""
        after = ""
        while page := await self._catalog.read(_live_blobs, after):
            after = str(page[-1].digest)
            await self.copy(page)

    async def copy(self, blobs: Iterable[LiveBlob]) -> None:
        """These. What can't be read is noted in `damaged`."""
        await at_once(blobs, self._copy)

    async def _copy(self, one: LiveBlob) -> None:
        if await self._archive.has_blob(one.digest, one.size):
            return
        try:
            pieces = read_verified(self._store, one.digest, one.phys, one.size)
            await self._archive.put_blob(one.digest, one.size, pieces)
        except (BlobMissing, BlobUnreadable, VerificationFailed):
            self.damaged.add(one.digest)
            return
        self.copied += 1
        self.copied_bytes += one.size


async def restore(
    archive: BackupArchive,
    snapshot: BackupSnapshot,
    catalog: Catalog,
    store: BlobStore,
    notes: Path,
    *,
    overwrite: bool = False,
    say: Say = lambda _: None,
) -> Restored:
    """Bring a snapshot back into an empty catalog with the schema, and a store that is empty or its own.

    Every digest is read back from the store before this returns. The epoch is raised above the one that the
    store carries. `notes` is a file that remembers copied blobs until it is done, so that an interrupted run
    goes on. With `overwrite` a catalog that is not empty is replaced; its rows are lost. Raises TargetInUse
    and others; the catalog is as it was then.
    """
    marked = await _check_target(catalog, store, snapshot, overwrite=overwrite)
    epoch = max(snapshot.epoch, marked.epoch if marked is not None else 0) + 1
    with (
        tempfile.TemporaryFile() as rows,
        CopiedNames(notes, owner=f"{snapshot.store_id} {snapshot.name}") as names,
    ):
        async for piece in archive.get_rows(snapshot):
            rows.write(piece)
        bringer = _Bringer(archive, store, names, reuse=marked is not None)
        say("bringing blobs back")
        await at_once(_blobs_in(rows), bringer.bring)
        rewrite = Rewrite(epoch, names)
        say("bringing the catalog back")
        await store.write_identity(snapshot.store_id, epoch)
        loaded = await catalog.write(_load, rows, rewrite)
        say("reading every blob back")
        check = await fsck(catalog, store, FsckSettings(deep=True))
        names.remove()
    damaged = tuple(sorted(rewrite.damaged))
    return Restored(snapshot, epoch, loaded, bringer.copied, bringer.kept, damaged, check)


async def _check_target(
    catalog: Catalog, store: BlobStore, snapshot: BackupSnapshot, *, overwrite: bool
) -> StoreIdentity | None:
    """The store's mark, when nothing is in the way. Raises TargetInUse, BackupInvalid."""
    if not overwrite and await catalog.read(count_rows) > 0:
        raise TargetInUse("the catalog is not empty", hint="name an empty one, or give --overwrite")
    nodes = await catalog.read(list_nodes, catalog.clock.steady())
    # On SQLite the data directory's lock speaks for `serve`; its row outlives it when it was killed.
    at_work = [one for one in nodes if one.state == "alive" and catalog.dialect != "sqlite"]
    if at_work:
        raise TargetInUse(
            f"{at_work[0].id} works on this catalog",
            hint="stop it; one that was killed is thought alive for 45 s",
        )
    if await catalog.read(schema_of) < snapshot.schema:
        raise BackupInvalid(
            f"the backup has schema {snapshot.schema}, which a newer version of entrepot made",
            hint="restore it with that version",
        )
    marked = await store.read_identity()
    if marked is not None and marked.store_id != snapshot.store_id:
        raise TargetInUse("the store is another registry's", hint="name an empty one")
    return marked


class _Bringer:
    """Brings blobs into a store, and notes their names there."""

    def __init__(self, archive: BackupArchive, store: BlobStore, names: CopiedNames, *, reuse: bool) -> None:
        self._archive = archive
        self._store = store
        self._names = names
        self._reuse = reuse
        self.copied = 0
        self.kept = 0

    async def bring(self, one: LiveBlob) -> None:
        name = self._names.get(one.phys)
        if name is not None and await self._store.size(name) == one.size:
            return  # by an interrupted run; all of it is read back at the end
        if self._reuse and await self._is_whole(one):
            self._names.add(one.phys, one.phys)
            self.kept += 1
            return
        try:
            pieces = self._archive.get_blob(one.digest)
            self._names.add(one.phys, await store_verified(self._store, one.digest, one.size, pieces))
        except (BackupMissing, BackupInvalid, VerificationFailed):
            self._names.forget(one.phys)
            return  # its row says that it is missing
        self.copied += 1

    async def _is_whole(self, one: LiveBlob) -> bool:
        """Whether the store has it already."""
        try:
            return await examine(self._store, str(one.digest), one.phys, one.size) is None
        except BlobUnreadable:
            return False


async def check_backup(archive: BackupArchive, snapshot: BackupSnapshot) -> list[Digest]:
    """Read everything of a snapshot; the digests that can't be restored from it. Raises BackupInvalid."""
    bad = list[Digest]()

    async def check(one: LiveBlob) -> None:
        hasher = Hasher(one.digest.algorithm)
        try:
            async for piece in archive.get_blob(one.digest):
                await asyncio.to_thread(hasher.update, piece)
        except (BackupMissing, BackupInvalid):
            bad.append(one.digest)
            return
        if hasher.digest() != one.digest:
            bad.append(one.digest)

    with tempfile.TemporaryFile() as rows:
        async for piece in archive.get_rows(snapshot):
            rows.write(piece)
        await at_once(_blobs_in(rows), check)
    return sorted(bad)


def _blobs_in(rows: BinaryIO) -> Iterator[LiveBlob]:
    """Live blobs among the rows of a snapshot. Raises BackupInvalid when these don't end as they should."""
    rows.seek(0)
    columns = list[str]()
    for line in read_lines(file_pieces(rows)):
        if isinstance(line, dict):
            columns = line["columns"] if line.get("table") == "blob" else []
        elif columns:
            row = dict(zip(columns, line, strict=True))
            if row["state"] == "live":
                yield LiveBlob(Digest.parse(row["digest"]), row["phys"], row["size"])


def _load(connection: Connection, rows: BinaryIO, rewrite: Rewrite) -> int:
    rewrite.begin()
    rows.seek(0)
    clear_rows(connection)
    return load_rows(connection, read_lines(file_pieces(rows)), rewrite)


def _live_blobs(connection: Connection, after: str) -> list[LiveBlob]:
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size)
        .where(blob.c.digest > after, blob.c.state == "live")
        .order_by(blob.c.digest)
        .limit(PAGE)
    )
    return [LiveBlob(Digest.parse(row.digest), row.phys, row.size) for row in rows]


async def _file_pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
        yield piece
