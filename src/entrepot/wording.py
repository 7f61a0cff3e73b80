"""Numbers as a sentence has them: counts, waits and sizes. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["human_size", "plural", "seconds"]

_UNITS: Final = ("kB", "MB", "GB", "TB", "PB")


def plural(number: int, one: str, many: str = "") -> str:
    """`1 tag`, `2 tags`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def seconds(wait_s: float) -> str:
    """A wait in whole seconds, at least one: `1 second`, `30 seconds`."""
    return plural(max(1, round(wait_s)), "second")


def human_size(number: int) -> str:
    """Three digits and a decimal unit, with the space that a sentence has: `7.48 MB`."""
    if abs(number) < 1000:
        return f"{number} B"
    value = float(number)
    for unit in _UNITS:
        value /= 1000
        # 999.5 would be written 1000 in this unit.
        if abs(value) < 999.5 or unit == _UNITS[-1]:
            break
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {unit}"
