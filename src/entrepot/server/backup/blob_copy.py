"""Bytes of a blob from one place to another, verified on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Final, TypeVar

from entrepot.errors import EntrepotError
from entrepot.oci.digest import Digest, Hasher
from entrepot.server.backup.errors import BytesDiffer
from entrepot.server.storage.store import BlobStore

__all__ = ["at_once", "read_verified", "store_verified"]

AT_ONCE: Final = 4
T = TypeVar("T")


async def read_verified(
    store: BlobStore, digest: Digest, phys: str, size: int
) -> AsyncGenerator[bytes, None]:
    """The bytes of a blob. After the last one BytesDiffer when they are wrong: throw away what came."""
    hasher = Hasher(digest.algorithm)
    async with aclosing(await store.open(phys, 0, size)) as pieces:
        async for piece in pieces:
            await asyncio.to_thread(hasher.update, piece)
            yield piece
    if hasher.size != size or hasher.digest() != digest:
        raise BytesDiffer(f"the stored bytes of {digest} ({phys}) are not the blob's")


async def store_verified(store: BlobStore, digest: Digest, size: int, pieces: AsyncIterable[bytes]) -> str:
    """Store a blob and return its physical name, durable. Raises BytesDiffer, and leaves nothing behind."""
    upload, hasher = await store.new_upload(), Hasher(digest.algorithm)
    try:
        await store.append(upload, 0, pieces, on_chunk=hasher.update)
        if hasher.size != size or hasher.digest() != digest:
            raise BytesDiffer(f"the bytes that came for {digest} are not the blob's")
    except BaseException:
        with suppress(EntrepotError):
            await store.abort(upload)
        raise
    return await store.commit(upload, digest, size)


async def at_once(items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """`work` on all items, a few at a time. After a failure nothing new is begun; what runs is finished."""
    waiting = aiter(items) if isinstance(items, AsyncIterable) else _each(items)
    turn = asyncio.Lock()
    failures = list[BaseException]()

    async def worker() -> None:
        while not failures:
            try:
                async with turn:
                    item = await anext(waiting)
                await work(item)
            except StopAsyncIteration:
                return
            except Exception as error:  # noqa: BLE001 - raised once the others have finished
                failures.append(error)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    if failures:
        raise failures[0]


async def _each(items: Iterable[T]) -> AsyncGenerator[T, None]:
    for item in items:
        yield item
