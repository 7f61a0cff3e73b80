"""Where blob bytes are: the one seam between the registry and its disk or object store.

A store keeps bytes under physical names that it makes itself and never uses twice. Which of them is the
live copy of a digest is the catalog's knowledge, never the store's: a store is not listed to decide
whether a blob exists.

The life of a blob::

    new_upload ─► append … append ─► commit ─► open/size … ─► delete
                       └─► abort                 ▲
    put (small, whole) ──────────────────────────┘

What `commit` and `put` return is durable: it survives `kill -9` and a power cut. What `append` returns
survives the end of this process; after a power cut an upload may be shorter than the catalog thinks
(`UploadShort`) but never wrong: `commit` reads everything again when the machine has restarted since the
upload began.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from entrepot.oci.digest import Digest
from entrepot.server.storage import keys
from entrepot.server.storage.driver import (
    ChecksItself,
    Chunk,
    Driver,
    HasFiles,
    KeepsReserve,
    Prepares,
    SignsUrls,
    StoredObject,
    StoreUploads,
    TakesFiles,
)
from entrepot.server.storage.errors import BlobMissing, StorageFailed

__all__ = ["BlobStore", "StoreIdentity"]


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """Which catalog a store belongs to. The catalog carries the same two values."""

    store_id: str
    """Random, made once with the catalog."""
    epoch: int
    """Raised by each restore, so that a catalog older than its store is noticed."""


class BlobStore:
    """Blobs and uploads in a driver's objects.

    Every failure is a StorageFailed (worth a retry), BlobMissing or UploadShort; a name that this layout
    never makes is an InvalidKey, so that no row can lead outside the store.
    """

    def __init__(self, driver: Driver, uploads: StoreUploads) -> None:
        self._driver = driver
        self._uploads = uploads
        self._files = driver if isinstance(driver, HasFiles) else None
        self._urls = driver if isinstance(driver, SignsUrls) else None
        self._checks = driver if isinstance(driver, ChecksItself) else None
        self._takes = driver if isinstance(driver, TakesFiles) else None
        self._prepares = [part for part in (driver, uploads) if isinstance(part, Prepares)]
        self._confirm: Callable[[], Awaitable[object]] | None = None
        self.reserve = driver if isinstance(driver, KeepsReserve) else None
        """Who keeps a little room on the disk, where there is a disk."""

    @property
    def grows(self) -> bool:
        """Whether what a request writes to an upload can be read before it has ended; see `append`."""
        return self._files is not None

    def confirm_with(self, confirm: Callable[[], Awaitable[object]]) -> None:
        """Change nothing before `confirm` has returned once: the store may have been away when the server
        started, and be another one when it comes back. What it raises is raised by `check` and by changes.
        """
        self._confirm = confirm

    async def _confirmed(self) -> None:
        if self._confirm is not None:
            await self._confirm()
            self._confirm = None

    # Uploads

    async def new_upload(self) -> str:
        """The name of an empty upload. Does no I/O: an upload without bytes leaves nothing behind."""
        return self._uploads.new_upload()

    async def append(
        self,
        upload: str,
        offset: int,
        chunks: AsyncIterable[Chunk],
        *,
        on_chunk: Callable[[Chunk], object],
    ) -> int:
        """Store `chunks` from byte `offset` on; returns how many bytes were stored.

        `on_chunk` gets the stored bytes in order, from a worker thread, never two at once, and is done
        when this returns or raises. When `chunks` raises (a client went away) what had arrived is kept,
        `on_chunk` has seen exactly that, and the exception goes on. After a StorageFailed the truth is
        `upload_size`: forget the running hash and read the upload again. One writer an upload is the
        caller's duty. Raises UploadShort when fewer than `offset` bytes are held.
        """
        await self._confirmed()
        return await self._uploads.append(keys.checked_upload(upload), offset, chunks, on_chunk=on_chunk)

    async def upload_size(self, upload: str) -> int:
        """Bytes held; 0 when nothing was stored or the upload is unknown."""
        return await self._uploads.upload_size(keys.checked_upload(upload))

    async def arriving(self, upload: str) -> int:
        """How far an upload has got by a request that comes to this machine, in bytes of the upload; a store
        that learns of a request only at its end says 0 when there is none. Only to be shown: these bytes may
        yet be lost."""
        return await self._uploads.arriving(keys.checked_upload(upload))

    async def read_upload(self, upload: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Bytes `start` up to but not including `end`, to hash them again. Raises UploadShort."""
        return await self._uploads.read_upload(keys.checked_upload(upload), start, end)

    async def commit(self, upload: str, digest: Digest, size: int) -> str:
        """Make the first `size` bytes a blob and return its physical name, durable. The upload is gone
        afterwards.

        The caller has hashed the bytes. Raises UploadShort, StorageFailed, or StoredBytesDiffer when the
        bytes had to be read again and are not what was promised; after a failure the upload is gone too.
        """
        await self._confirmed()
        return await self._uploads.commit(keys.checked_upload(upload), digest, size)

    async def abort(self, upload: str) -> None:
        """Remove an upload's bytes. A missing one is a success.

        Only for who has removed the upload's row: on an object store a finished upload's bytes are the
        blob.
        """
        await self._confirmed()
        await self._uploads.abort(keys.checked_upload(upload))

    def list_uploads(self) -> AsyncGenerator[StoredObject, None]:
        """Upload files of running or forgotten uploads. An object store has none: see `list`."""
        return self._uploads.list_uploads()

    # Blobs

    async def put(self, digest: Digest, data: bytes) -> str:
        """Store a small blob at once, durable; returns its physical name."""
        await self._confirmed()
        phys = self._uploads.new_blob(digest)
        await self._driver.put(phys, data)
        return phys

    async def take_file(
        self, source: Path, digest: Digest, size: int, *, may_link: bool
    ) -> tuple[str, str] | None:
        """A file of this machine becomes a blob; its physical name, durable, and how: `linked`, `cloned` or
        `copied`. None where blobs are no files: `append` its bytes then.

        `may_link`: nobody will ever write to `source` again, so that both may be one file. The digest is that
        of what is stored. Raises FileUnreadable, StoredBytesDiffer, StorageFailed, and leaves nothing behind.
        """
        if self._takes is None:
            return None
        await self._confirmed()
        return await self._takes.take_file(source, digest, size, may_link=may_link)

    async def open(self, phys: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes `start` up to but not including `end`. Raises BlobMissing here, before the first byte.

        The stream delivers exactly that many bytes or raises: a blob cut short never looks complete. Here and
        in `size` a bad sector is a BlobUnreadable.
        Close it with `aclose()` when it is not read to its end.
        """
        return await self._driver.read(keys.checked_blob(phys), start, end)

    def file_path(self, phys: str) -> Path | None:
        """The file that holds the blob, for a server that can send files itself; None when there is no
        file.
        """
        name = keys.checked_blob(phys)
        return None if self._files is None else self._files.file_path(name)

    async def signed_url(self, phys: str, *, expires_s: int) -> str | None:
        """A URL from which anyone may read the blob for `expires_s` seconds; None when the store has
        none.
        """
        name = keys.checked_blob(phys)
        return None if self._urls is None else self._urls.signed_url(name, expires_s)

    async def size(self, phys: str) -> int | None:
        """Bytes stored under a physical name, None when it is missing."""
        return await self._driver.size(keys.checked_blob(phys))

    async def delete(self, phys: str) -> None:
        """Remove a blob's bytes. A missing one is a success."""
        await self._confirmed()
        await self._driver.delete([keys.checked_blob(phys)])

    async def list(self) -> AsyncGenerator[StoredObject, None]:
        """Every blob object, in no order. On an object store segments of running uploads are among them."""
        async with aclosing(self._driver.list(keys.BLOBS)) as found:
            async for stored in found:
                if keys.is_blob(stored.phys):
                    yield stored

    # What is made of blobs, and again when it is gone

    async def put_derived(self, data: bytes) -> str:
        """Store bytes that were made of blobs; returns their name."""
        await self._confirmed()
        name = keys.derived_key()
        await self._driver.put(name, data)
        return name

    async def open_derived(
        self, name: str, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """As `open`. Raises BlobMissing."""
        return await self._driver.read(keys.checked_derived(name), start, end)

    async def delete_derived(self, names: Sequence[str]) -> None:
        """Missing ones are a success."""
        await self._confirmed()
        await self._driver.delete([keys.checked_derived(name) for name in names])

    def list_derived(self) -> AsyncGenerator[StoredObject, None]:
        """All of it, in no order."""
        return self._driver.list(keys.DERIVED)

    # The store itself

    async def read_identity(self) -> StoreIdentity | None:
        """Whose store this is; None when it is new. Raises StorageFailed."""
        try:
            data = b"".join([piece async for piece in await self._driver.read(keys.IDENTITY, 0, None)])
        except BlobMissing:
            return None
        try:
            fields = json.loads(data)
            return StoreIdentity(str(fields["store_id"]), int(fields["epoch"]))
        except (ValueError, KeyError, TypeError) as error:
            where = keys.IDENTITY if self._files is None else self._files.file_path(keys.IDENTITY)
            raise StorageFailed(f"{where} is damaged", hint="restore this file from a backup") from error

    async def write_identity(self, store_id: str, epoch: int) -> None:
        """Mark the store, durable."""
        data = json.dumps({"store_id": store_id, "epoch": epoch}).encode()
        await self._driver.put(keys.IDENTITY, data)

    async def prepare(self) -> None:
        """Make ready what the first write would otherwise have to. Optional, once at start."""
        for part in self._prepares:
            await part.prepare()

    async def check(self) -> None:
        """Raise StorageFailed with the reason when blobs can't be written now."""
        await self._confirmed()
        if self._checks is None:
            await self.read_identity()
        else:
            await self._checks.check()

    async def close(self) -> None:
        """Give back threads and connections."""
        await self._uploads.close()
        await self._driver.close()
