"""Uploads as files that grow, and get a blob's name at their end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable

from entrepot.oci.digest import Digest
from entrepot.server.storage import keys
from entrepot.server.storage.driver import Chunk, StoredObject
from entrepot.server.storage.errors import BlobMissing, StorageFailed, UploadShort
from entrepot.server.storage.filesystem.append import FileAppend
from entrepot.server.storage.filesystem.calls import DiskCalls
from entrepot.server.storage.filesystem.stream import FileStream
from entrepot.server.storage.threads import hash_pool

__all__ = ["FileUploads"]


class FileUploads:
    """See Uploads."""

    def __init__(self, calls: DiskCalls) -> None:
        self._calls = calls
        self._tree = calls.tree
        self._hashing = hash_pool()

    def new_upload(self) -> str:
        return keys.file_upload_key(self._tree.boot)

    def new_blob(self, digest: Digest) -> str:
        return keys.file_blob_key(digest)

    async def append(
        self,
        upload: str,
        offset: int,
        chunks: AsyncIterable[Chunk],
        *,
        on_chunk: Callable[[Chunk], object],
    ) -> int:
        writer = FileAppend(
            self._tree, self._calls.disk, self._hashing, upload=upload, offset=offset, on_chunk=on_chunk
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
        return await self._calls.run("reading an upload", self._tree.size, self._tree.path(upload)) or 0

    async def arriving(self, upload: str) -> int:
        return await self.upload_size(upload)

    async def read_upload(self, upload: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        if end == 0:
            return _nothing()
        try:
            file = await self._calls.open(self._tree.path(upload), upload)
        except BlobMissing:
            raise UploadShort(upload, 0, end) from None
        if file.size < end:
            raise UploadShort(upload, file.size, end)
        return FileStream(self._tree.ops, self._calls.disk, file, upload, start, end)

    async def commit(self, upload: str, digest: Digest, size: int) -> str:
        phys = keys.file_blob_key(digest)
        await self._calls.run("storing a blob", self._tree.commit, upload, phys, digest, size)
        return phys

    async def abort(self, upload: str) -> None:
        await self._calls.run("removing an upload", self._tree.remove, self._tree.path(upload))

    async def list_uploads(self) -> AsyncGenerator[StoredObject, None]:
        async for stored in self._calls.walk("listing uploads", keys.UPLOADS):
            if keys.is_upload(stored.phys):
                yield stored

    async def close(self) -> None:
        self._hashing.shutdown(wait=False)


async def _nothing() -> AsyncGenerator[bytes, None]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece
