"""Blobs as files, durable in the order that a power cut can't break.

A commit, in this order; the catalog's own commit and the answer to the client come after it:

1. the bytes are written to `uploads/<boot>.<random>` and hashed as stored, in threads, the one beside the
other 2. fsync of the file 3. rename to `blobs/<alg>/<aa>/<hex>.<random>`, a name that was never used
before 4. fsync of that directory; its parents were synced when this process first used them

When any of these fails the upload fails and its file is removed. An fsync is never tried again: after an
error the kernel has forgotten which bytes it lost, and a second call would succeed without them.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from entrepot.oci.digest import Digest
from entrepot.server.storage import keys
from entrepot.server.storage.base import Chunk, StoredObject, StoreIdentity
from entrepot.server.storage.errors import BlobMissing, StorageFailed, UploadShort, reading_failed, translated
from entrepot.server.storage.fileappend import FileAppend
from entrepot.server.storage.files import Files, OpenFile, Unsynced
from entrepot.server.storage.filestream import FileStream
from entrepot.server.storage.fsops import FileOps, boot_id
from entrepot.server.storage.threads import disk_pool, hash_pool, run

_T = TypeVar("_T")

DEFAULT_RESERVE_BYTES = 16 * 1024 * 1024
"""Room that uploads leave on the disk, so that deletes and garbage collection still work."""
TOO_LONG_S = 0.05
"""Writing a small blob to the page cache on the event loop takes a few microseconds. When it takes longer
than this, memory is full of unwritten pages, and a thread does it for a while."""
AWAY = 20
"""For so many times as long: requests wait for at most a twentieth of their time."""
LIST_BATCH = 512
"""Directory entries handed over at a time."""


class FilesystemStore:
    """See BlobStore.

    Several processes may use one root; nothing is made before `prepare` or the first write.
    """

    def __init__(
        self,
        root: Path,
        fsops: FileOps | None = None,
        *,
        reserve_bytes: int = DEFAULT_RESERVE_BYTES,
        boot: str | None = None,
    ) -> None:
        self._ops = fsops or FileOps()
        self._files = Files(root, self._ops, reserve_bytes=reserve_bytes, boot=boot or boot_id())
        self._in_thread_until = 0.0
        self._disk = disk_pool()
        self._hashing = hash_pool()

    @property
    def root(self) -> Path:
        """The directory that holds everything."""
        return self._files.root

    async def new_upload(self) -> str:
        return keys.file_upload_key(self._files.boot)

    async def append(
        self,
        upload: str,
        offset: int,
        chunks: AsyncIterable[Chunk],
        *,
        on_chunk: Callable[[Chunk], object],
    ) -> int:
        writer = FileAppend(
            self._files,
            self._disk,
            self._hashing,
            upload=keys.checked_upload(upload),
            offset=offset,
            on_chunk=on_chunk,
        )
        try:
            try:
                async for chunk in chunks:
                    await writer.add(chunk)
            except StorageFailed:
                raise
            except BaseException:  # a client that went away, or this server stopping
                await writer.finish()
                raise
            await writer.finish()
        except StorageFailed:
            await writer.give_back()
            raise
        finally:
            await writer.close()
        return writer.stored

    async def upload_size(self, upload: str) -> int:
        path = self._files.upload_path(upload)
        return await self._call("reading an upload", self._files.size, path) or 0

    async def arriving(self, upload: str) -> int:
        return await self.upload_size(upload)

    async def read_upload(self, upload: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        path = self._files.upload_path(upload)
        if end == 0:
            return _nothing()
        try:
            file = await self._open(path, upload)
        except BlobMissing:
            raise UploadShort(upload, 0, end) from None
        if file.size < end:
            raise UploadShort(upload, file.size, end)
        return FileStream(self._ops, self._disk, file, upload, start, end)

    async def abort(self, upload: str) -> None:
        await self._call("removing an upload", self._files.remove, self._files.upload_path(upload))

    async def commit(self, upload: str, digest: Digest, size: int) -> str:
        phys = keys.file_blob_key(digest)
        await self._call("storing a blob", self._files.commit, upload, phys, digest, size)
        return phys

    async def put(self, digest: Digest, data: bytes) -> str:
        phys = keys.file_blob_key(digest)
        target = self._files.blob_path(phys)
        began = time.monotonic()
        if began < self._in_thread_until or not self._files.is_ready_for(target):
            await self._call("storing a blob", self._files.put, phys, data)
            return phys
        try:
            written = self._files.begin_put(target, data)
        except OSError as error:
            raise translated(error, "storing a blob") from error
        took = time.monotonic() - began
        if took > TOO_LONG_S:
            self._in_thread_until = began + AWAY * took
        if self._files.is_slow():
            await self._end_put_at_once(written)
        else:
            await self._call("storing a blob", self._files.end_put, written)
        return phys

    async def _end_put_at_once(self, written: Unsynced) -> None:
        """`Files.end_put` with both syncs at the same time: one more thread, half the wait."""
        halves = (self._files.sync_bytes, self._files.sync_name)
        ends = [self._call("storing a blob", half, written) for half in halves]
        failed = [end for end in await asyncio.gather(*ends, return_exceptions=True) if end is not None]
        if failed:
            await self._call("removing a blob", self._files.forget, written.path)
            raise failed[0]

    async def open(self, phys: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        file = await self._open(self._files.blob_path(phys), phys)
        return FileStream(self._ops, self._disk, file, phys, start, file.size if end is None else end)

    def file_path(self, phys: str) -> Path | None:
        return self._files.blob_path(phys)

    async def signed_url(self, phys: str, *, expires_s: int) -> str | None:
        del expires_s
        keys.checked_blob(phys)
        return None

    async def size(self, phys: str) -> int | None:
        path = self._files.blob_path(phys)
        try:
            return await run(self._disk, self._files.size, path)
        except OSError as error:
            raise reading_failed(error, phys) from error

    async def delete(self, phys: str) -> None:
        await self._call("removing a blob", self._files.remove, self._files.blob_path(phys))

    async def list(self) -> AsyncGenerator[StoredObject, None]:
        found = self._files.walk_blobs()
        while batch := await self._call("listing blobs", _take, found):
            for stored in batch:
                yield stored

    async def list_uploads(self) -> AsyncGenerator[StoredObject, None]:
        found = self._files.walk_uploads()
        while batch := await self._call("listing uploads", _take, found):
            for stored in batch:
                yield stored

    async def read_identity(self) -> StoreIdentity | None:
        return await self._call("reading the store's identity", self._files.read_identity)

    async def write_identity(self, store_id: str, epoch: int) -> None:
        identity = StoreIdentity(store_id, epoch)
        await self._call("marking the store", self._files.write_identity, identity)

    async def prepare(self) -> None:
        await self._call("making the store's directories", self._files.prepare)

    async def check(self) -> None:
        await self._call("writing to the store", self._files.probe)

    async def keep_reserve_file(self) -> str | None:
        """See Files.keep_reserve_file."""
        return await self._call("keeping a reserve of space", self._files.keep_reserve_file)

    async def close(self) -> None:
        self._disk.shutdown(wait=False)
        self._hashing.shutdown(wait=False)

    async def _call(self, doing: str, call: Callable[..., _T], *args: object) -> _T:
        try:
            return await run(self._disk, call, *args)
        except OSError as error:
            raise translated(error, doing) from error

    async def _open(self, path: Path, name: str) -> OpenFile:
        try:
            return await run(self._disk, self._files.open_read, path)
        except (FileNotFoundError, NotADirectoryError):
            raise BlobMissing(name) from None
        except OSError as error:
            raise reading_failed(error, name) from error


async def _nothing() -> AsyncGenerator[bytes, None]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


def _take(found: Iterator[StoredObject]) -> list[StoredObject]:
    return list(itertools.islice(found, LIST_BATCH))
