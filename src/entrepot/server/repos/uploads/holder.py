"""Who holds a claim on an upload, and whether that process still lives.

A claim names the boot, the process namespace, the process and its start time. A process of this machine that
is gone can't write any more, so what it held is free at once; of any other only time tells.
"""

from __future__ import annotations

import functools
import os
import secrets
from pathlib import Path

from entrepot.server.db.clock import boot_id

__all__ = ["is_dead", "new_claim"]


def new_claim() -> str:
    """A name for one request's hold on an upload."""
    return f"{_process(os.getpid())}/{secrets.token_hex(8)}"


def is_dead(claim: str) -> bool:
    """Whether the claim's process certainly does not run any more."""
    boot, namespace, pid, started, _ = claim.split("/")
    if boot != boot_id() or namespace != _namespace() or not pid.isdecimal():
        return False
    return _started(int(pid)) != started


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> str:
    return f"{boot_id()}/{_namespace()}/{pid}/{_started(pid)}"


@functools.cache
def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "none"


def _started(pid: int) -> str:
    """The process's start, in ticks since boot; `gone` when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone"
    # The second field is the program's name in parentheses and may hold anything.
    fields = text.rpartition(")")[2].split()
    return "gone" if fields[0] in {"Z", "X"} else fields[19]
