"""Calls of transaction functions, and the event loops that wait for what they return."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Call", "Committed", "answer", "settle", "take_committed"]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Call:
    """One function, and where its result goes."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    durable: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    runs: int = 0
    result: Any = None
    error: BaseException | None = None


Committed = queue.SimpleQueue["list[Call] | None"]


def take_committed(committed: Committed) -> list[Call] | None:
    """Everything that has been committed by now; None at the end."""
    waiting = committed.get()
    if waiting is None:
        committed.put(None)  # for whoever else takes from it
        return None
    waiting = list(waiting)
    while True:
        try:
            more = committed.get_nowait()
        except queue.Empty:
            return waiting
        if more is None:
            committed.put(None)  # nothing can come behind it
            return waiting
        waiting += more


def answer(calls: Iterable[Call]) -> None:
    """Hand results to their event loops, each loop woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Call]] = {}
    for call in calls:
        by_loop.setdefault(call.loop, []).append(call)
    for loop, theirs in by_loop.items():
        try:
            loop.call_soon_threadsafe(settle, theirs)
        except RuntimeError:
            # The loop was closed with calls in flight; nobody is left to tell.
            _log.debug("catalog-answer-unheard", extra={"calls": len(theirs)})


def settle(calls: list[Call]) -> None:
    for call in calls:
        if call.future.done():
            continue
        if call.error is not None:
            call.future.set_exception(call.error)
        else:
            call.future.set_result(call.result)
