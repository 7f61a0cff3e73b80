"""How long to wait before the next try: one formula for everything that tries again. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["backoff_s"]

_MOST_STEPS: Final = 200
"""Beyond any `longest_s` and still a float: what is restarted for hours counts its failures in thousands."""


def backoff_s(failures: int, *, first_s: float, longest_s: float, growth: float = 2.0) -> float:
    """Seconds to wait after so many failures in a row: `first_s`, then `growth` times as long each time.

    0 after none, and never more than `longest_s`. Who may meet many others at the same moment adds chance.
    """
    if failures <= 0:
        return 0.0
    return min(longest_s, first_s * growth ** min(failures - 1, _MOST_STEPS))
