"""A store in memory: the smallest thing that keeps the contract, for tests and for trying things out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence

from entrepot.oci.digest import Digest
from entrepot.server.storage import keys
from entrepot.server.storage.driver import Chunk, StoredObject
from entrepot.server.storage.errors import BlobMissing, UploadShort
from entrepot.server.storage.store import BlobStore

__all__ = ["MemoryDriver", "MemoryUploads", "memory_store"]

_PIECE_BYTES = 64 * 1024


def memory_store() -> BlobStore:
    """A store that goes with the process."""
    driver = MemoryDriver()
    return BlobStore(driver, MemoryUploads(driver))


class MemoryDriver:
    """See SegmentDriver."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._clock = clock

    async def put(self, name: str, data: bytes) -> None:
        self._objects[name] = (data, self._clock())

    async def put_stream(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        await self.put(name, b"".join([piece async for piece in pieces]))

    async def read(self, name: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        held = self._objects.get(name)
        if held is None:
            raise BlobMissing(name)
        return _pieces(held[0][start : len(held[0]) if end is None else end])

    async def size(self, name: str) -> int | None:
        held = self._objects.get(name)
        return None if held is None else len(held[0])

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            self._objects.pop(name, None)

    async def list(self, folder: str) -> AsyncGenerator[StoredObject, None]:
        for name, (data, mtime) in list(self._objects.items()):
            if name.startswith(folder + "/"):
                yield StoredObject(name, len(data), mtime)

    async def close(self) -> None:
        return None


class MemoryUploads:
    """See Uploads. As files have them: each is one thing that grows."""

    def __init__(self, driver: MemoryDriver, clock: Callable[[], float] = time.time) -> None:
        self._driver = driver
        self._uploads: dict[str, tuple[bytearray, float]] = {}
        self._clock = clock

    def new_upload(self) -> str:
        return keys.file_upload_key("0" * 12)

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
        held, _ = self._uploads.setdefault(upload, (bytearray(), self._clock()))
        if len(held) < offset:
            raise UploadShort(upload, len(held), offset)
        del held[offset:]
        async for chunk in chunks:
            held += chunk
            on_chunk(chunk)
        return len(held) - offset

    async def upload_size(self, upload: str) -> int:
        held = self._uploads.get(upload)
        return 0 if held is None else len(held[0])

    async def arriving(self, upload: str) -> int:
        return await self.upload_size(upload)

    async def read_upload(self, upload: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        size = await self.upload_size(upload)
        if size < end:
            raise UploadShort(upload, size, end)
        return _pieces(bytes(self._uploads[upload][0][start:end]) if size else b"")

    async def commit(self, upload: str, digest: Digest, size: int) -> str:
        stored = await self.upload_size(upload)
        if stored < size:
            raise UploadShort(upload, stored, size)
        held, _ = self._uploads.pop(upload, (bytearray(), 0.0))
        phys = self.new_blob(digest)
        await self._driver.put(phys, bytes(held[:size]))
        return phys

    async def abort(self, upload: str) -> None:
        self._uploads.pop(upload, None)

    async def list_uploads(self) -> AsyncGenerator[StoredObject, None]:
        for upload, (held, mtime) in list(self._uploads.items()):
            yield StoredObject(upload, len(held), mtime)

    async def close(self) -> None:
        return None


async def _pieces(data: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]
