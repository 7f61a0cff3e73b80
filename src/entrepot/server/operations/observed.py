"""Catalog and store with a watch: how long calls take, which were slow, and spans for traces.

The wrappers add a microsecond to calls that take a hundred or more. SQLite's hot reads, which take less, are
left as they are.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, Final, Protocol, TypeVar, cast

from sqlalchemy import Connection

from entrepot.observability.logs import get_log
from entrepot.observability.tracing import span
from entrepot.oci.digest import Digest
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.statements import HotQuery
from entrepot.server.storage.driver import Chunk
from entrepot.server.storage.store import BlobStore

__all__ = ["CATALOG_SECONDS", "STORE_SECONDS", "observed_catalog", "observed_store", "unwrapped"]

log = get_log(__name__)

CATALOG_SECONDS: Final = "entrepot_catalog_seconds"
STORE_SECONDS: Final = "entrepot_store_seconds"
T = TypeVar("T")


class Histogram(Protocol):
    """What is needed of a histogram."""

    def observe(self, seconds: float, *values: str) -> None: ...


NewHistogram = Callable[[str, str, tuple[str, ...]], Histogram]


def observed_catalog(inner: Catalog, histogram: NewHistogram, *, slow_s: float) -> Catalog:
    """`inner`, watched. Calls slower than `slow_s` seconds are logged; 0: none."""
    seconds = histogram(CATALOG_SECONDS, "Time of calls to the database, waiting included.", ("call",))
    return cast("Catalog", _Catalog(inner, _Watch("catalog", "slow query", seconds, slow_s)))


def observed_store(inner: BlobStore, histogram: NewHistogram, *, slow_s: float) -> BlobStore:
    """`inner`, watched. Whole uploads and downloads, which take as long as their clients do, are left out."""
    seconds = histogram(STORE_SECONDS, "Time of calls to the disk or object store.", ("call",))
    return cast("BlobStore", _Store(inner, _Watch("store", "slow store", seconds, slow_s)))


def unwrapped(watched: Any) -> Any:
    """What is behind the watch."""
    return getattr(watched, "inner", watched)


class _Watch:
    """Measures the calls of one part."""

    def __init__(self, part: str, event: str, seconds: Histogram, slow_s: float) -> None:
        self._part, self._event = part, event
        self._seconds = seconds
        self._slow_s = slow_s

    @contextmanager
    def over(self, call: str, what: str) -> Iterator[None]:
        """One call; `what` names it in logs and traces."""
        began = time.perf_counter()
        try:
            with span(f"{self._part}.{call}", what=what):
                yield
        finally:
            took = time.perf_counter() - began
            self._seconds.observe(took, call)
            if self._slow_s and took > self._slow_s:
                log.warning(self._event, call=call, what=what, seconds=round(took, 3))


class _Catalog:
    """See Catalog."""

    def __init__(self, inner: Catalog, watch: _Watch) -> None:
        self.inner = inner
        self._watch = watch
        if inner.dialect == "sqlite":
            self.hot = inner.hot  # type: ignore[method-assign]  # one call less, thirty thousand times a second

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def write(
        self,
        fn: Callable[Concatenate[Connection, ...], T],
        /,
        *args: Any,
        durable: bool = True,
        brief: bool = False,
    ) -> T:
        with self._watch.over("write", _name(fn)):
            return await self.inner.write(fn, *args, durable=durable, brief=brief)

    async def read(self, fn: Callable[Concatenate[Connection, ...], T], /, *args: Any) -> T:
        with self._watch.over("read", _name(fn)):
            return await self.inner.read(fn, *args)

    async def hot(self, query: HotQuery, /, **params: Any) -> list[tuple[Any, ...]]:
        with self._watch.over("hot", "point query"):
            return await self.inner.hot(query, **params)


class _Store:
    """See BlobStore."""

    def __init__(self, inner: BlobStore, watch: _Watch) -> None:
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


def _name(fn: Callable[..., Any]) -> str:
    inner = getattr(fn, "func", fn)
    return str(getattr(inner, "__qualname__", type(inner).__name__))
