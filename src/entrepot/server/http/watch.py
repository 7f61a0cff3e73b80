"""Transfers that are too slow, and bodies that never begin.

Every body on its way in and every streamed answer reports what it moved to a TransferMeter; a sweep now and
then cancels the tasks whose meter stood (nearly) still. That costs a transfer nothing, where a deadline per
read would. A body is judged only while we wait for the client: a disk or a catalog that takes its time is not
the client's fault.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from entrepot.server.http.request import HttpRequest, Message, Receive

_LOOKS: Final = 8
"""Looks at the clock in the time that a body has to begin: it is cut an eighth of that late at most."""


class TransferMeter:
    """How many bytes a transfer has moved, and since when we wait for the client (0: we do not)."""

    __slots__ = ("moved", "receive", "seen", "task", "waits_since")

    def __init__(self, task: Any, waits_since: float = 0.0) -> None:
        self.moved = 0
        self.seen = -1  # no sweep has come by yet
        self.waits_since = waits_since
        self.task = task
        self.receive: Receive | None = None


class TransferWatch:
    """Cancels transfers that move less than `min_rate` bytes a second over `window_s`, and bodies of which
    nothing has come `begin_s` after it was asked for; 0 cancels none.
    """

    def __init__(self, *, min_rate: int = 0, window_s: float = 60.0, begin_s: float = 0.0) -> None:
        self._least = int(min_rate * window_s)
        self._window_s = window_s
        self._begin_s = begin_s
        self._arriving: set[TransferMeter] = set()
        self._sending: set[TransferMeter] = set()

    @contextmanager
    def metered(self) -> Iterator[TransferMeter]:
        """Watch what the current task sends until the block ends."""
        meter = TransferMeter(asyncio.current_task(), time.monotonic())
        self._sending.add(meter)
        try:
            yield meter
        finally:
            self._sending.discard(meter)

    def arriving(self, request: HttpRequest) -> TransferMeter:
        """Watch the body of `request`, for the current task, whoever reads it. `end` must follow."""
        meter = TransferMeter(asyncio.current_task())
        meter.receive = request.receive
        request.receive = _counting(request.receive, request, meter)
        self._arriving.add(meter)
        return meter

    def end(self, meter: TransferMeter, request: HttpRequest) -> None:
        """Watch it no longer. Without this the request holds itself, and with itself the connection open."""
        self._arriving.discard(meter)
        if meter.receive is not None:
            request.receive = meter.receive

    def sweep(self) -> int:
        """End every transfer that was already there at the last sweep and moved too little; how many."""
        slow = 0
        for meter in [*self._arriving, *self._sending]:
            if meter.seen >= 0 and meter.waits_since and meter.moved - meter.seen < self._least:
                self._cancel(meter, "slower than limits.min_body_rate")
                slow += 1
            meter.seen = meter.moved
        return slow

    def end_silent(self, now: float) -> int:
        """End every request whose body should have begun by now (monotonic seconds); how many."""
        silent = [
            meter
            for meter in self._arriving
            if not meter.moved and meter.waits_since and now - meter.waits_since >= self._begin_s
        ]
        for meter in silent:
            self._cancel(meter, "nothing came of the body for limits.body_timeout")
        return len(silent)

    def _cancel(self, meter: TransferMeter, why: str) -> None:
        self._arriving.discard(meter)
        self._sending.discard(meter)
        meter.task.cancel(why)

    async def run(self) -> None:
        """Sweep for ever."""
        if not self._least and not self._begin_s:
            return
        pause_s = min(self._window_s, self._begin_s / _LOOKS) if self._begin_s else self._window_s
        swept = time.monotonic()
        while True:
            await asyncio.sleep(pause_s)
            now = time.monotonic()
            if self._begin_s:
                self.end_silent(now)
            if self._least and now - swept >= self._window_s:
                swept = now
                self.sweep()


def _counting(receive: Receive, request: HttpRequest, meter: TransferMeter) -> Receive:
    length = request.headers.get(b"content-length", b"")
    expected = int(length) if length.isdigit() else -1

    async def counting() -> Message:
        if not request.body_done:
            meter.waits_since = time.monotonic()
        message = await receive()
        meter.waits_since = 0.0
        if message["type"] != "http.request":
            return message
        meter.moved += len(message.get("body", b""))
        # Behind what was announced nothing can follow.
        request.body_done = meter.moved == expected or not message.get("more_body", False)
        return message

    return counting
