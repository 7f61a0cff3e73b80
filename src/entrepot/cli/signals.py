"""Being told to end: what is half written goes away, as after Ctrl-C."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from typing import Any, TypeVar

from entrepot.cli import exitcodes

F = TypeVar("F", bound=Callable[..., Any])


def ends_tidily(command: F) -> F:
    """For commands that write files beside the store: on SIGTERM they clean up, and leave with 143."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        before = signal.signal(signal.SIGTERM, _end)
        try:
            return command(*arguments, **options)
        finally:
            signal.signal(signal.SIGTERM, before)

    return wrapped  # type: ignore[return-value]  # same signature


def _end(_signal: int, _frame: object) -> None:
    raise SystemExit(exitcodes.TERMINATED)
