"""Memory that big bodies leave behind in the allocator, given back to the system."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final

TRIM_S: Final = 15.0
WORTH_BYTES: Final = 64 * 1024 * 1024
"""Bytes that must have passed through since the last time."""


async def give_back(moved: Callable[[], float]) -> None:
    """Trim the heap now and then while `moved()` (a total of bytes) grows; until cancelled."""
    trim = _find_trim()
    seen = moved()
    while trim is not None:
        await asyncio.sleep(TRIM_S)
        now = moved()
        if now - seen >= WORTH_BYTES:
            seen = now
            await asyncio.to_thread(trim, 0)


def _find_trim() -> Callable[[int], int] | None:
    """glibc's malloc_trim; None with other C libraries."""
    try:
        found = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    found.argtypes, found.restype = [ctypes.c_size_t], ctypes.c_int
    trim: Callable[[int], int] = found
    return trim
