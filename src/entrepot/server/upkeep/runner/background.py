"""Work that goes on beside a process's main one, until it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from entrepot.observability.logs import get_log

__all__ = ["in_background"]

log = get_log(__name__)


def in_background(work: Coroutine[Any, Any, Any], stop: asyncio.Event) -> asyncio.Task[Any]:
    """A task that sets `stop` when it fails: the process ends, and its supervisor makes a new one.

    Nobody waits for such a task, so that its failure would go unnoticed and half of the work be left undone.
    """
    task, name = asyncio.ensure_future(work), str(getattr(work, "__qualname__", work))

    def ended(_: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        try:
            task.result()
        except Exception:
            log.exception("background work failed; the process restarts", work=name)
            stop.set()

    task.add_done_callback(ended)
    return task
