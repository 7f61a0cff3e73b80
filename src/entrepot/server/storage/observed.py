"""The blob store with a watch over its calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import Any, Final, cast

from entrepot.observability.tracing import span
from entrepot.oci.digest import Digest
from entrepot.server.storage.driver import Chunk
from entrepot.server.storage.store import BlobStore
from entrepot.server.telemetry.watch import NewHistogram, Watch

__all__ = ["STORE_SECONDS", "observed_store"]

STORE_SECONDS: Final = "entrepot_store_seconds"


def observed_store(inner: BlobStore, histogram: NewHistogram, *, slow_s: float) -> BlobStore:
    """`inner`, watched. Whole uploads and downloads, which take as long as their clients do, are left out."""
    seconds = histogram(STORE_SECONDS, "Time of calls to the disk or object store.", ("call",))
    return cast("BlobStore", _Observed(inner, Watch("store", "slow store", seconds, slow_s)))


class _Observed:
    """See BlobStore."""

    def __init__(self, inner: BlobStore, watch: Watch) -> None:
        self.inner = inner
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def append(
        self,
        upload: str,
        offset: int,
        chunks: AsyncIterable[Chunk],
        *,
        on_chunk: Callable[[Chunk], object],
    ) -> int:
        with span("store.append", what=upload):
            return await self.inner.append(upload, offset, chunks, on_chunk=on_chunk)

    async def commit(self, upload: str, digest: Digest, size: int) -> str:
        with self._watch.over("commit", upload):
            return await self.inner.commit(upload, digest, size)

    async def put(self, digest: Digest, data: bytes) -> str:
        with self._watch.over("put", str(digest)):
            return await self.inner.put(digest, data)

    async def open(self, phys: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        with self._watch.over("open", phys):
            return await self.inner.open(phys, start, end)

    async def size(self, phys: str) -> int | None:
        with self._watch.over("size", phys):
            return await self.inner.size(phys)

    async def delete(self, phys: str) -> None:
        with self._watch.over("delete", phys):
            await self.inner.delete(phys)
