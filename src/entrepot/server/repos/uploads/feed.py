"""The body of a request on its way into the store: counted, limited, and ended without harm.

A store is never cancelled in the middle of a write. When the client goes away, or its request is cancelled,
the feed just ends; the store finishes what has arrived, and the service notes it before it tells anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from typing import Final, TypeVar

from entrepot.server.repos.errors import SizeInvalid
from entrepot.server.storage.driver import Chunk

__all__ = ["Feed", "uninterrupted"]

T = TypeVar("T")

_NOTHING: Final = b""


class Feed:
    """Chunks of one request body, at most `limit` bytes in all and `expected` bytes when that was
    announced.
    """

    def __init__(self, chunks: AsyncIterable[Chunk] | None, *, limit: int, expected: int | None) -> None:
        self._chunks = None if chunks is None else aiter(chunks)
        self._limit = limit
        self._waiting: asyncio.Task[object] | None = None
        self._first: Chunk = _NOTHING
        self._ended = chunks is None
        self.expected = expected
        self.received = 0
        """Bytes handed on."""
        self.failure: BaseException | None = None
        """Why the body ended early: what the client's stream raised."""
        self.too_large = False
        self.too_long = False
        """More arrived than was announced; the rest was not taken."""
        self.stopped = False

    def allow(self, limit: int) -> None:
        """Set how many bytes may come."""
        self._limit = limit

    @property
    def is_short(self) -> bool:
        """Fewer bytes came than were announced."""
        return self.expected is not None and self.received < self.expected

    def stop(self) -> None:
        """End the body here, as if nothing more had been sent. Safe to call from the task's event loop."""
        self.stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    def raise_failure(self, offset: int) -> None:
        """Tell why the body was not what it should have been, now that what arrived is noted: up to `offset`.

        Raises what the client's stream raised, SizeInvalid.
        """
        if self.failure is not None:
            raise self.failure
        if self.stopped:
            return  # the caller is being cancelled and hears of that
        if self.too_long or self.is_short:
            raise SizeInvalid(self.expected or 0, self.received + self.too_long, offset=offset)

    async def has_bytes(self) -> bool:
        """Wait for the first byte; it stays in the feed."""
        if not self._first:
            self._first = await self._next()
        return bool(self._first)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self._run()

    async def _run(self) -> AsyncIterator[Chunk]:
        chunk, self._first = self._first, _NOTHING
        while chunk or (chunk := await self._next()):
            yield chunk
            chunk = _NOTHING

    async def _next(self) -> Chunk:
        """The next chunk that has bytes and fits; empty at the end, whatever ended it."""
        while not (self.stopped or self._ended):
            chunk = await self._receive()
            if chunk is None:
                break
            if chunk:
                return self._fitting(chunk)
        self._ended = True
        return _NOTHING

    async def _receive(self) -> Chunk | None:
        assert self._chunks is not None
        self._waiting = asyncio.current_task()
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self.stopped or task is None:
                raise
            task.uncancel()  # it was `stop` that wanted this, to end the body and not the work
            return None
        except Exception as error:  # noqa: BLE001 - raised again once what has arrived is noted
            self.failure = error
            return None
        finally:
            self._waiting = None

    def _fitting(self, chunk: Chunk) -> Chunk:
        size = len(chunk)
        if self.expected is not None and self.received + size > self.expected:
            self.too_long = self._ended = True
            chunk = chunk[: self.expected - self.received]
            size = len(chunk)
        if self.received + size > self._limit:
            self.too_large = self._ended = True
            return _NOTHING
        self.received += size
        return chunk


async def uninterrupted(work: Awaitable[T], feed: Feed | None = None) -> T:
    """Wait for `work` to its end even when the caller is cancelled, which is then raised.

    `feed` is stopped in that case, so that the end comes soon.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.done():
                break
            cancelled = error
            if feed is not None:
                feed.stop()
        except BaseException:  # noqa: BLE001 - looked at below
            break
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # heard; the caller does not want to know any more
        raise cancelled
    return task.result()
