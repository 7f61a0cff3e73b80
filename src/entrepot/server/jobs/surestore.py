"""A store that is believed to lack a blob only while it carries the catalog's mark.

An endpoint that has come to answer 404 to everything, or a bucket that was removed and made anew, lacks every
blob. That is no damage of blobs, and must not take a whole registry out of service.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from entrepot.server.db.engine import Catalog
from entrepot.server.jobs.reconcile import is_pair
from entrepot.server.storage.base import BlobStore
from entrepot.server.storage.errors import RETRY_AFTER_S, BlobMissing, StorageFailed

__all__ = ["sure_store"]


def sure_store(catalog: Catalog, store: BlobStore) -> BlobStore:
    """`store`, whose `size` and `open` raise StorageFailed when a blob is missing and the mark too."""
    wrapped: Any = _SureStore(catalog, store)
    sure: BlobStore = wrapped
    return sure


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
