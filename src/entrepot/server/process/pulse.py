"""Whether a process of the server still does its work: its event loop raises a counter, its supervisor looks.

The counter lies in memory that both share, so that a beat costs nothing and is seen however busy both are.
No clock of one is compared with a clock of the other.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
from typing import Final

__all__ = ["LEAST_S", "Pulse", "Silence"]

LEAST_S: Final = 5.0
"""A process is given at least so long."""
_BEATS: Final = 12
"""Looks in the time after which a process is given up."""
_COUNT: Final = struct.Struct("@Q")


class Pulse:
    """Made by the supervisor before the process is forked. A process that hangs for `timeout_s` is given up;
    0: never.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = max(timeout_s, LEAST_S) if timeout_s else 0.0
        self.look_s = min(5.0, self.timeout_s / _BEATS)
        """How often the supervisor looks."""
        self._shared = mmap.mmap(-1, _COUNT.size)
        self._beats = 0

    @property
    def count(self) -> int:
        """Beats so far. 0: the process is still starting."""
        found: tuple[int] = _COUNT.unpack_from(self._shared)
        return found[0]

    async def run(self) -> None:
        """Beat, until cancelled: in the process, on the event loop that answers requests."""
        while self.timeout_s:
            self._beats += 1
            _COUNT.pack_into(self._shared, 0, self._beats)
            await asyncio.sleep(min(1.0, self.look_s))

    def close(self) -> None:
        """Give the memory back; in the supervisor, when the process is gone."""
        self._shared.close()


class Silence:
    """How long a pulse has not been felt, in time in which the supervisor was awake to feel it.

    Two looks count for `look_s` at most, however far apart they were: a machine that slept, or a supervisor
    that was stopped or had to wait for a processor, says nothing about the process.
    """

    def __init__(self, look_s: float) -> None:
        self._look_s = look_s
        self._count = 0
        self._looked_at: float | None = None
        self.seconds = 0.0

    def look(self, count: int, now: float) -> float:
        """The pulse stands at `count`; returns the silence so far, in seconds. `now` is monotonic."""
        if count != self._count or self._looked_at is None:
            self._count, self.seconds = count, 0.0
        else:
            self.seconds += min(now - self._looked_at, self._look_s)
        self._looked_at = now
        return self.seconds
