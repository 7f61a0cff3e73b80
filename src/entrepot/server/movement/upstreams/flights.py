"""Work of a process that goes on without whoever began it; of a kind with a key, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from entrepot.server.movement.upstreams.errors import UpstreamUnreachable

__all__ = ["Flights"]

T = TypeVar("T")


class Flights:
    """Tasks, each held until it ends."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[Any, ...], asyncio.Task[Any]] = {}
        self._others: set[asyncio.Task[Any]] = set()

    async def join(self, key: tuple[Any, ...], begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for the one under way, or begun now, with whoever else waits. Raises what it raises, and
        UpstreamUnreachable when this process stops before its end.
        """
        flying = self.fly(key, begin)
        try:
            return await asyncio.shield(flying)
        except asyncio.CancelledError:
            if flying.cancelled():
                raise UpstreamUnreachable("this server is stopping; ask again") from None
            raise

    def fly(self, key: tuple[Any, ...], begin: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The one under way, or begun now; nobody has to wait for it."""
        flying = self._by_key.get(key)
        if flying is None:
            flying = self._by_key[key] = asyncio.ensure_future(begin())
            flying.add_done_callback(lambda done: self._landed(key, done))
        return flying

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)
        return task

    async def close(self) -> None:
        """Cancel all, and wait for their ends."""
        running = [task for task in (*self._others, *self._by_key.values()) if not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _landed(self, key: tuple[Any, ...], done: asyncio.Task[Any]) -> None:
        self._by_key.pop(key, None)
        if not done.cancelled():
            done.exception()  # heard: who waits is told, and a look in the background has nobody to tell
