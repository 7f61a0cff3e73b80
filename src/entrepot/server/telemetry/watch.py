"""A watch over the calls of one part: how long they take, which were slow, and spans for traces.

It adds a microsecond to calls that take a hundred or more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from entrepot.observability.logs import get_log
from entrepot.observability.tracing import span

__all__ = ["Histogram", "NewHistogram", "Watch", "unwrapped"]

log = get_log(__name__)


class Histogram(Protocol):
    """What is needed of a histogram."""

    def observe(self, seconds: float, *values: str) -> None: ...


NewHistogram = Callable[[str, str, tuple[str, ...]], Histogram]


def unwrapped(watched: Any) -> Any:
    """What is behind the watch."""
    return getattr(watched, "inner", watched)


class Watch:
    """Measures the calls of one part."""

    def __init__(self, part: str, event: str, seconds: Histogram, slow_s: float) -> None:
        self._part, self._event = part, event
        self._seconds = seconds
        self._slow_s = slow_s

    @contextmanager
    def over(self, call: str, what: str) -> Iterator[None]:
        """One call; `what` names it in logs and traces."""
        began = time.perf_counter()
        try:
            with span(f"{self._part}.{call}", what=what):
                yield
        finally:
            took = time.perf_counter() - began
            self._seconds.observe(took, call)
            if self._slow_s and took > self._slow_s:
                log.warning(self._event, call=call, what=what, seconds=round(took, 3))
