"""How much a background job does at once: found out while it works, so that requests never wait long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Pace"]

GROWTH: Final = 2


class Pace:
    """The rows of a step, such that a step takes about `target_s`, and the rest that follows it.

    A step that was quicker than half of that lets the next one be larger, up to `most`; one that took longer
    makes it smaller, down to `least`. After each, `rest` waits as long as the step took, times `idle`: a job
    at `idle=1` never takes more than half of one core of the database.
    """

    def __init__(self, *, first: int, least: int, most: int, target_s: float, idle: float) -> None:
        self.rows = first
        self._least = least
        self._most = most
        self._target_s = target_s
        self._idle = idle
        self._took_s = 0.0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time a step of `rows` rows."""
        began = time.perf_counter()
        yield
        self.note(time.perf_counter() - began)

    def note(self, took_s: float) -> None:
        """Set `rows` by what a step took."""
        self._took_s += took_s
        if took_s > self._target_s:
            self.rows = max(self._least, int(self.rows * max(0.25, self._target_s / took_s)))
        elif took_s < self._target_s / GROWTH:
            self.rows = min(self._most, self.rows * GROWTH)

    async def rest(self) -> None:
        """Let others have the database; at least, let other tasks run."""
        took_s, self._took_s = self._took_s, 0.0
        await asyncio.sleep(took_s * self._idle)
