"""Asking identity providers and directories without being held up by one that hangs.

They are asked by blocking libraries, each question in a thread. A source has few threads, so that one that
takes connections and never answers fills its own and no others; who comes then is refused soon. A question
has a deadline as a whole: a timeout for each read is no limit for somebody who sends a byte now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar

from entrepot.errors import Unavailable

__all__ = ["Deadline", "Outbound", "SourceBusy"]

T = TypeVar("T")

MOST_PER_SOURCE: Final = 4
MOST_TOGETHER: Final = 32
"""Threads, over all sources."""
MOST_WAITING: Final = 64
"""For one source."""
TURN_WAIT_S: Final = 2.0
ANSWER_WAIT_S: Final = 12.0
CONVERSATION_S: Final = 10.0


class SourceBusy(Unavailable):
    """A sign-in source does not answer, or has too many questions before it."""

    code: ClassVar[str] = "sign-in-source-busy"

    def __init__(self, source: str) -> None:
        super().__init__(
            f"sign-in source {source} does not answer at the moment",
            hint="try again in a moment; other ways to sign in work",
            retry_after_s=10.0,
        )


class Outbound:
    """One per process. Sources are told apart by name."""

    def __init__(self, *, turn_wait_s: float = TURN_WAIT_S, answer_wait_s: float = ANSWER_WAIT_S) -> None:
        self._threads = ThreadPoolExecutor(max_workers=MOST_TOGETHER, thread_name_prefix="sign-in")
        self._turn_wait_s, self._answer_wait_s = turn_wait_s, answer_wait_s
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._waiting: dict[str, int] = {}
        self._running = 0

    async def ask(self, source: str, question: Callable[..., T], *args: Any) -> T:
        """`question(*args)` in a thread of `source`. Raises SourceBusy, and what the question raises.

        After SourceBusy, or when cancelled, the thread goes on and keeps its place until its question ends.
        """
        turn = self._turns.setdefault(source, asyncio.Semaphore(MOST_PER_SOURCE))
        waiting = self._waiting.get(source, 0)
        if waiting >= MOST_WAITING:
            raise SourceBusy(source)
        self._waiting[source] = waiting + 1
        try:
            async with asyncio.timeout(self._turn_wait_s):
                await turn.acquire()
        except TimeoutError:
            raise SourceBusy(source) from None
        finally:
            self._waiting[source] -= 1
        if self._running >= MOST_TOGETHER:
            turn.release()
            raise SourceBusy(source)
        self._running += 1
        answer = asyncio.get_running_loop().run_in_executor(self._threads, question, *args)
        answer.add_done_callback(lambda done: self._ended(turn, done))
        await asyncio.wait((answer,), timeout=self._answer_wait_s)
        if not answer.done():
            raise SourceBusy(source)
        return answer.result()

    def _ended(self, turn: asyncio.Semaphore, answer: asyncio.Future[Any]) -> None:
        self._running -= 1
        turn.release()
        if not answer.cancelled():
            answer.exception()  # perhaps nobody waits any more

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Deadline:
    """Ends the sockets it watches when a conversation has taken too long: whoever reads there gets an end.

    A context manager, for one thread.
    """

    def __init__(self, limit_s: float = CONVERSATION_S) -> None:
        self._timer = threading.Timer(limit_s, self._end)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []
        self._passed = False

    def watch(self, connection: socket.socket) -> None:
        """A connection that was made, also when it is wrapped into TLS later."""
        # Wrapping takes the socket's descriptor away; a second one reaches the same connection.
        with self._lock:
            self._watched.append(socket.socket(fileno=os.dup(connection.fileno())))
        if self._passed:
            self._end()

    def _end(self) -> None:
        self._passed = True
        with self._lock:
            for one in self._watched:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for one in self._watched:
                one.close()
            self._watched.clear()
