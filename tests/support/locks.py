"""Who waits for whom at a lock of flock(2)."""

from __future__ import annotations

import os
from pathlib import Path


def somebody_waits_for(lock: Path) -> bool:
    """Whether a process or thread is held up by the lock of this file."""
    try:
        status = lock.stat()
    except FileNotFoundError:
        return False
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any("->" in row and place in row for row in rows)
