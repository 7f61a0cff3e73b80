"""A store in memory: the smallest thing that keeps the contract, for tests and for trying things out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from pathlib import Path

from entrepot.oci.digest import Digest
from entrepot.server.storage import keys
from entrepot.server.storage.base import Chunk, StoredObject, StoreIdentity
from entrepot.server.storage.errors import BlobMissing, UploadShort

_PIECE_BYTES = 64 * 1024


class MemoryStore:
    """Nothing survives the process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._blobs: dict[str, tuple[bytes, float]] = {}
        self._uploads: dict[str, tuple[bytearray, float]] = {}
        self._identity: StoreIdentity | None = None
        self._clock = clock

    async def new_upload(self) -> str:
        return keys.file_upload_key("0" * 12)

    async def append(
        self,
        upload: str,
        offset: int,
        chunks: AsyncIterable[Chunk],
        *,
        on_chunk: Callable[[Chunk], object],
    ) -> int:
        held, _ = self._uploads.setdefault(keys.checked_upload(upload), (bytearray(), self._clock()))
        if len(held) < offset:
            raise UploadShort(upload, len(held), offset)
        del held[offset:]
        async for chunk in chunks:
            held += chunk
            on_chunk(chunk)
        return len(held) - offset

    async def upload_size(self, upload: str) -> int:
        held = self._uploads.get(keys.checked_upload(upload))
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
        return await self.put(digest, bytes(held[:size]))

    async def put(self, digest: Digest, data: bytes) -> str:
        phys = keys.file_blob_key(digest)
        self._blobs[phys] = (data, self._clock())
        return phys

    async def open(self, phys: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        held = self._blobs.get(keys.checked_blob(phys))
        if held is None:
            raise BlobMissing(phys)
        return _pieces(held[0][start : len(held[0]) if end is None else end])

    def file_path(self, phys: str) -> Path | None:
        keys.checked_blob(phys)
        return None

    async def signed_url(self, phys: str, *, expires_s: int) -> str | None:
        del expires_s
        keys.checked_blob(phys)
        return None

    async def size(self, phys: str) -> int | None:
        held = self._blobs.get(keys.checked_blob(phys))
        return None if held is None else len(held[0])

    async def delete(self, phys: str) -> None:
        self._blobs.pop(keys.checked_blob(phys), None)

    async def abort(self, upload: str) -> None:
        self._uploads.pop(keys.checked_upload(upload), None)

    async def list(self) -> AsyncGenerator[StoredObject, None]:
        for phys, (data, mtime) in list(self._blobs.items()):
            yield StoredObject(phys, len(data), mtime)

    async def list_uploads(self) -> AsyncGenerator[StoredObject, None]:
        for upload, (held, mtime) in list(self._uploads.items()):
            yield StoredObject(upload, len(held), mtime)

    async def read_identity(self) -> StoreIdentity | None:
        return self._identity

    async def write_identity(self, store_id: str, epoch: int) -> None:
        self._identity = StoreIdentity(store_id, epoch)

    async def prepare(self) -> None:
        return None

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


async def _pieces(data: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]
