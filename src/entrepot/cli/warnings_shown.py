"""Warnings of what speaks to registries, on stderr. Knows no click."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def log_to_stderr(*, debug: bool) -> None:
    """Warnings go to stderr; with `debug` requests too, secrets removed."""
    import logging

    log = logging.getLogger("entrepot")
    if log.handlers:
        return  # a command that logs in its own way, or a second command line in one process
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.addFilter(_once())
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if debug else logging.WARNING)


def _once() -> Callable[[Any], bool]:
    """Lets a warning through the first time it is made: a file that cannot be read is read more than once."""
    seen: set[str] = set()

    def is_new(record: Any) -> bool:
        if record.levelname != "WARNING":
            return True
        text = record.getMessage()
        if text in seen:
            return False
        seen.add(text)
        return True

    return is_new
