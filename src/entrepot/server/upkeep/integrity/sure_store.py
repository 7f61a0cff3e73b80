"""When a store is believed to have lost a blob: not when the whole of it has gone.

An endpoint that has come to answer 404 to everything, or a bucket that was removed and made anew, lacks every
blob; a disk that has gone reads none. That is no damage of blobs, and must not take a whole registry out of
service.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from entrepot.oci.digest import Digest
from entrepot.server.db.catalog import Catalog
from entrepot.server.storage.errors import RETRY_AFTER_S, BlobMissing, StorageFailed
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.integrity.reconcile import is_pair

__all__ = ["ensure_it_stores", "sure_store"]


def sure_store(catalog: Catalog, store: BlobStore) -> BlobStore:
    """`store`, whose `size` and `open` raise StorageFailed when a blob is missing and the mark too."""
    wrapped: Any = _SureStore(catalog, store)
    sure: BlobStore = wrapped
    return sure


async def ensure_it_stores(store: BlobStore) -> None:
    """Return when `store`, which can't read a blob, works otherwise: when it keeps a new one, durable.

    Raises StorageFailed.
    """
    try:
        await store.delete(await store.put(Digest.of(b""), b""))
    except StorageFailed as error:
        raise StorageFailed(
            "the disk can't read a blob and takes none either, so it is not taken for damage of that one: "
            f"{error.message}",
            hint="is the disk gone, read-only or full?",
            retry_after_s=RETRY_AFTER_S,
        ) from error


class _SureStore:
    def __init__(self, catalog: Catalog, inner: BlobStore) -> None:
        self._catalog = catalog
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def size(self, phys: str) -> int | None:
        stored = await self.inner.size(phys)
        if stored is None:
            await self._check()
        return stored

    async def open(self, phys: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        try:
            return await self.inner.open(phys, start, end)
        except BlobMissing:
            await self._check()
            raise

    async def _check(self) -> None:
        if not await is_pair(self._catalog, self.inner):
            raise StorageFailed(
                "the store does not carry this registry's mark, so it is not believed to lack blobs",
                hint="is storage.url right, and does the endpoint lead there? ask: entrepot admin doctor",
                retry_after_s=RETRY_AFTER_S,
            )
