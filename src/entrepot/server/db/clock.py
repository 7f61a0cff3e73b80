"""Two kinds of time. `now` is what people read in records; `steady` is what leases and windows use.

A clock set forward by a day must not end a lease early, so `steady` never follows such a jump, and all
processes of one registry agree on it: on SQLite they are on one machine and count from the same anchor with
the time since boot, which the catalog keeps; on PostgreSQL they follow the database's clock.
All times are microseconds since 1970.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Protocol

__all__ = ["SECOND", "Clock", "ManualClock", "SteadyClock", "boot_id", "microseconds"]

SECOND = 1_000_000
"""Microseconds in a second."""


class Clock(Protocol):
    """Where the catalog and its services take the time from."""

    def now(self) -> int:
        """The wall clock; may jump when somebody sets it."""
        ...

    def steady(self) -> int:
        """Near to the wall clock when the machine (or the database) started, and never jumps."""
        ...


def microseconds(seconds: float) -> int:
    """A duration in the unit of columns."""
    return round(seconds * SECOND)


def since_boot() -> int:
    """Microseconds since the machine started, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


@functools.cache
def boot_id() -> str:
    """Names this run of the machine; another one after a restart, when page caches were lost."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # Nothing is believed across processes then, which is only slower.
        return f"unknown-{time.time_ns()}"


class SteadyClock:
    """Steady time as an anchor plus the time since boot."""

    def __init__(self, anchor: int | None = None) -> None:
        self.anchor = self.now() - since_boot() if anchor is None else anchor

    def now(self) -> int:
        return time.time_ns() // 1000

    def steady(self) -> int:
        return self.anchor + since_boot()

    def follow(self, reference: int, *, taken_at: int) -> None:
        """Agree with `reference`, a time read elsewhere when `since_boot()` was `taken_at`."""
        self.anchor = reference - taken_at


class ManualClock:
    """A clock that stands still until it is moved; for tests."""

    def __init__(self, start: int = 1_700_000_000 * SECOND) -> None:
        self.wall = start
        self.calm = start

    def now(self) -> int:
        return self.wall

    def steady(self) -> int:
        return self.calm

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += microseconds(seconds)
        self.calm += microseconds(seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP does."""
        self.wall += microseconds(seconds)
