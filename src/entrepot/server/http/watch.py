"""Transfers that are too slow.

Each request with a body of some size reports what it moved to a TransferMeter; one sweep per window cancels
the tasks whose meter stood (nearly) still. That costs a transfer nothing, where a deadline per read would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from entrepot.server.http.request import Request, TransferMeter


class TransferWatch:
    """Cancels transfers that move less than `min_rate` bytes a second over `window_s`; 0 cancels none."""

    def __init__(self, *, min_rate: int = 0, window_s: float = 60.0) -> None:
        self._least = int(min_rate * window_s)
        self._window_s = window_s
        self._meters: set[TransferMeter] = set()

    @contextmanager
    def metered(self, request: Request) -> Iterator[TransferMeter]:
        """Watch the current task's transfer until the block ends."""
        meter = TransferMeter(asyncio.current_task())
        request.meter = meter
        self._meters.add(meter)
        try:
            yield meter
        finally:
            self._meters.discard(meter)
            request.meter = None

    def sweep(self) -> int:
        """End every transfer that was already there at the last sweep and moved too little; how many."""
        slow = 0
        for meter in list(self._meters):
            if meter.seen >= 0 and not meter.all_there and meter.moved - meter.seen < self._least:
                self._meters.discard(meter)
                meter.task.cancel("slower than limits.min_body_rate")
                slow += 1
            meter.seen = meter.moved
        return slow

    async def run(self) -> None:
        """Sweep for ever."""
        if not self._least:
            return
        while True:
            await asyncio.sleep(self._window_s)
            self.sweep()
