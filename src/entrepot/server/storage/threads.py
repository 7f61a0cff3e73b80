"""Threads that wait for disks and hash bytes, so that the event loop does neither."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

_T = TypeVar("_T")

DISK_THREADS = 32
"""Calls that may wait for the disk at once; more wait their turn, which is the back-pressure of a slow
disk.
"""


def disk_pool() -> ThreadPoolExecutor:
    """Threads for calls that wait for a disk."""
    return ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")


def hash_pool() -> ThreadPoolExecutor:
    """Threads for work that keeps a core busy: as many as there are cores."""
    return ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="hash")


async def run(pool: Executor, call: Callable[..., _T], *args: object) -> _T:
    """Run `call` in `pool`. When the caller is cancelled the call is waited for first.

    A thread can't be stopped, so nothing it works on may be taken away before it has finished.
    """
    return await settled(asyncio.get_running_loop().run_in_executor(pool, call, *args))


async def settled(future: asyncio.Future[_T]) -> _T:
    """The result of `future`, which has finished even when this raises CancelledError."""
    cancelled = await wait_for_end(future)
    if cancelled:
        if not future.cancelled():
            future.exception()
        raise asyncio.CancelledError
    return future.result()


async def wait_for_end(future: asyncio.Future[_T]) -> bool:
    """Wait until `future` has finished, come what may. True when the caller was cancelled meanwhile."""
    cancelled = False
    while not future.done():
        # Not `await future`, which would cancel it together with the caller.
        ended = asyncio.get_running_loop().create_future()
        future.add_done_callback(partial(_wake, ended))
        try:
            await ended
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


def _wake(waiter: asyncio.Future[None], _: object) -> None:
    if not waiter.done():
        waiter.set_result(None)
