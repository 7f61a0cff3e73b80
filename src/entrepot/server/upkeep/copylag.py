"""What is said of the catalog's copy, on the page and by `doctor`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from entrepot.server.db.copynote import CopyState

__all__ = ["copy_problem"]

LATE_S: Final = 30.0
"""It is brought up to date every second."""


def copy_problem(state: CopyState) -> str:
    """Empty while the copy is as it should be. Pure but for the clock."""
    if state.lag_s <= LATE_S and not state.problem:
        return ""
    reason = f": {state.problem}" if state.problem else ""
    if not state.until:
        return f"nothing has been copied to {state.place} yet{reason}"
    until = datetime.fromtimestamp(state.until, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"{state.place} has what was there until {until}, and nothing newer{reason}"
