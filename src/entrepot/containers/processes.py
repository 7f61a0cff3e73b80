"""The processes of a running container, read from /proc: those in the process namespace of its first one.

A command that `exec` started is one of them though the first process is not its parent.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

_PROC = Path("/proc")


class Usage(Struct, frozen=True):
    """What processes take at a moment."""

    cpu_s: float
    """Time of processors since each of them began."""
    memory_bytes: int
    """Resident; what several share counts for each."""
    read_bytes: int
    written_bytes: int
    received_bytes: int
    """Of the container's own network; 0 where it has the host's."""
    sent_bytes: int
    pids: int


def process_start(pid: int) -> int:
    """When a process was started, in clock ticks since boot; 0 when there is none."""
    try:
        fields = _stat(pid)
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])  # one that has ended and waits to be collected is none


def processes_of(first: int) -> Sequence[int]:
    """The IDs, as the host sees them, the first process first; none when it has ended."""
    try:
        namespace = _namespace(first, "pid")
        if namespace == _namespace("self", "pid"):
            return _descendants(first)
    except OSError:
        return ()
    found = []
    for number in _all_pids():
        with contextlib.suppress(OSError):
            if _namespace(number, "pid") == namespace:
                found.append(number)
    return sorted(found, key=lambda number: (number != first, number))


def _descendants(first: int) -> list[int]:
    """For a container that shares the host's processes."""
    children: dict[int, list[int]] = {}
    for number in _all_pids():
        with contextlib.suppress(OSError, IndexError):
            children.setdefault(int(_stat(number)[1]), []).append(number)
    found, waiting = [], [first]
    while waiting:
        number = waiting.pop(0)
        found.append(number)
        waiting += children.get(number, ())
    return found


def usage_of(first: int) -> Usage:
    """What all processes of a container take together."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    pids = processes_of(first)
    cpu = memory = read = written = 0
    for number in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = _stat(number)
            cpu += int(fields[11]) + int(fields[12])
            memory += int(fields[21]) * page
        with contextlib.suppress(OSError, ValueError):  # only its owner may see the rest
            counts = dict(line.split(": ") for line in _read(number, "io").splitlines())
            read += int(counts["read_bytes"])
            written += int(counts["write_bytes"])
    received, sent = _network(first)
    return Usage(cpu / ticks, memory, read, written, received, sent, len(pids))


def _network(first: int) -> tuple[int, int]:
    received = sent = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        if _namespace(first, "net") != _namespace("self", "net"):
            for line in _read(first, "net/dev").splitlines()[2:]:
                name, _, rest = line.partition(":")
                if name.strip() != "lo":
                    counts = rest.split()
                    received += int(counts[0])
                    sent += int(counts[8])
    return received, sent


def memory_of_machine() -> int:
    """Bytes of memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _namespace(process: int | str, kind: str) -> str:
    return str((_PROC / str(process) / "ns" / kind).readlink())


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir(_PROC) if entry.isdigit()]  # noqa: PTH208 - many names


def _stat(number: int) -> list[str]:
    """Fields of /proc/N/stat from the third on: a program's name may hold spaces and brackets."""
    return _read(number, "stat").rpartition(")")[2].split()


def _read(number: int, name: str) -> str:
    return (_PROC / str(number) / name).read_text()
