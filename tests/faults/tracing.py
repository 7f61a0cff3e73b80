"""Faults put into a running process by strace, while the block lasts."""

import contextlib
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import tail, wait_until
from tests.support.programs import require_program
from tests.support.server import RunningServer


@contextlib.contextmanager
def traced(pid: int, *options: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """strace attached to every thread of `pid` with `options` (as `-e inject=…`); what it saw is in `log`."""
    strace = require_program("strace")
    messages = log.with_suffix(".err")
    with messages.open("wb") as errors:
        process = subprocess.Popen(
            [strace, "-f", "-y", "-o", str(log), *options, "-p", str(pid)], stdout=errors, stderr=errors
        )
    try:
        wait_until(lambda: "attached" in tail(messages) or process.poll() is not None, what="strace")
        assert process.poll() is None, tail(messages)
        yield process
    finally:
        # A tracer may hang over a thread that was killed; when it is gone the kernel lets go of everything.
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)


def is_dead(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] in {"Z", "X"}


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that still run."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def jobs_process(server: RunningServer) -> int:
    """The process that does the background work; it tells the catalog its id when it starts."""
    found: list[int] = []

    def known() -> bool:
        found[:] = [pid for pid in _told(server) if pid in children(_supervisor(server))]
        return bool(found)

    wait_until(known, what="the jobs process")
    return found[0]


def workers(server: RunningServer) -> list[int]:
    """The processes that answer requests."""
    jobs = jobs_process(server)
    return [pid for pid in children(_supervisor(server)) if pid != jobs]


def _supervisor(server: RunningServer) -> int:
    assert server.process is not None
    return server.process.pid


def _told(server: RunningServer) -> list[int]:
    with contextlib.closing(sqlite3.connect(f"file:{server.data}/catalog.db?mode=ro", uri=True)) as catalog:
        rows = catalog.execute("SELECT detail FROM node ORDER BY seen_at DESC").fetchall()
    return [json.loads(detail)["pid"] for (detail,) in rows]
