"""A database that takes questions and answers none: stopped in the middle, or behind a pooler that is.

The kernel of a frozen process goes on acknowledging packets, so no time limit of a socket ends the wait, and
the limit of a statement is kept by the server, which is frozen. A limit here would have to be as long as the
longest honest transaction. So nothing is cut for being slow: while somebody waits for long, the database is
asked a question on a connection of its own. When that is not answered either, all who wait hear so at once,
and who comes later does not begin to wait, until it answers again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from entrepot.observability.logs import get_log

__all__ = ["DatabaseSilent", "SilenceWatch"]

T = TypeVar("T")
log = get_log(__name__)

LONG_S: Final = 2.0
"""Most statements take milliseconds; who waits for longer makes the database be asked."""
ANSWER_S: Final = 3.0
"""For connecting and `SELECT 1`. A server that swaps answers within it, or it is as good as away."""
PAUSE_S: Final = 1.0


class DatabaseSilent(Exception):
    """The database was asked whether it is there, and said nothing."""


class _Waiting:
    """One attempt under way."""

    __slots__ = ("given_up", "since", "task")

    def __init__(self, task: asyncio.Task[object], since: float) -> None:
        self.task = task
        self.since = since
        self.given_up = False


class SilenceWatch:
    """Knows whether the database answers. One for each catalog and event loop."""

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        self._ask = ask
        self._waiting: set[_Waiting] = set()
        self._watch: asyncio.Task[None] | None = None
        self.silent = False

    async def attempt(self, run: Callable[[], Awaitable[T]]) -> T:
        """What `run` returns. Raises what it raises, or DatabaseSilent: `run` was cancelled, or not begun."""
        if self.silent:
            raise DatabaseSilent
        task = asyncio.current_task()
        assert task is not None
        waiting = _Waiting(task, asyncio.get_running_loop().time())
        self._waiting.add(waiting)
        if self._watch is None:
            self._watch = asyncio.create_task(self._listen())
        try:
            return await run()
        except asyncio.CancelledError:
            if waiting.given_up and task.cancelling() == 1:
                raise DatabaseSilent from None
            raise  # its caller has gone
        finally:
            self._waiting.discard(waiting)
            if waiting.given_up:
                task.uncancel()

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])

    async def _listen(self) -> None:
        """While somebody waits, or nobody may since there is silence."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting or self.silent:
                await asyncio.sleep(PAUSE_S)
                longest = min((one.since for one in self._waiting), default=loop.time())
                if self.silent or loop.time() - longest >= LONG_S:
                    self._hear(answered=await self._answers(), asked_before=loop.time() - LONG_S)
        finally:
            self._watch = None

    async def _answers(self) -> bool:
        try:
            await asyncio.wait_for(self._ask(), ANSWER_S)
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001 - a refusal is an answer; who waits is told it by their own
            log.debug("the database refuses", reason=str(error))
        return True

    def _hear(self, *, answered: bool, asked_before: float) -> None:
        if answered:
            if self.silent:
                log.info("the database answers again")
            self.silent = False
            return
        if not self.silent:
            log.error(
                "the database does not answer; requests are told to come back", waiting=len(self._waiting)
            )
        self.silent = True
        for one in self._waiting:
            if one.since <= asked_before and not one.given_up:
                one.given_up = True
                one.task.cancel()
