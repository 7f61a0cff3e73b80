"""Memory of a process and all its descendants, as proportional set size."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """`pid` and every process below it."""
    found, at = [pid], 0
    while at < len(found):
        for tasks in Path(f"/proc/{found[at]}/task").glob("*/children"):
            try:
                found += map(int, tasks.read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue
        at += 1
    return found


def pss_mib(pid: int) -> float:
    """Proportional set size of `pid` and its descendants, MiB."""
    total = 0
    for process in descendants(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total / 1024


@contextmanager
def peak_pss_mib(pid: int) -> Iterator[list[float]]:
    """A list whose last item is the highest `pss_mib(pid)` seen while the block runs."""
    seen = [pss_mib(pid)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            seen[-1] = max(seen[-1], pss_mib(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
