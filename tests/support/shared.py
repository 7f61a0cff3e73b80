"""Servers that a whole test run shares: one PostgreSQL, one object store, one dockerd.

The first test that asks starts the server (under a guardian) and writes its address into a file of the
run's folder; every other test, in any worker, reads that file. One server a run keeps memory and start-up
bounded, and no worker's end takes a server away from the others.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import tail, wait_until

_FOLDER = "ENTREPOT_TEST_RUN"
_OWNER = "ENTREPOT_TEST_OWNER"
_ROOT = Path(__file__).resolve().parents[2]


def pytest_configure(config: pytest.Config) -> None:
    """Make the run's folder, once, in the process that starts the workers."""
    if not hasattr(config, "workerinput") and _FOLDER not in os.environ:
        folder = tempfile.mkdtemp(prefix="entrepot-tests-")
        Path(folder).chmod(0o755)
        os.environ[_FOLDER] = folder
        os.environ[_OWNER] = str(os.getpid())


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what the run shared and remove its folder."""
    if hasattr(config, "workerinput") or os.environ.get(_OWNER) != str(os.getpid()):
        return
    folder = Path(os.environ.pop(_FOLDER))
    os.environ.pop(_OWNER)
    guardians = [json.loads(file.read_text())["guardian"] for file in folder.glob("*.json")]
    for pid in guardians:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
    for pid in guardians:
        wait_until(lambda pid=pid: not _runs(pid), what=f"guardian {pid} to end", timeout_s=30)
    shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    """Whether `pid` runs; a child of ours that has ended is reaped, a zombie of another's counts as ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def run_folder() -> Path:
    """The folder of this test run, shared by its workers."""
    return Path(os.environ[_FOLDER])


ATTEMPTS = 3
Start = Callable[[Path], tuple[Sequence[str], dict[str, Any], Callable[[], object]]]


def shared_server(name: str, start: Start) -> dict[str, Any]:
    """The facts about server `name`, started by the first caller of the run.

    `start(folder)` gives the command line, the facts to hand out and a function that tells readiness.
    """
    folder = run_folder()
    facts_file = folder / f"{name}.json"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if facts_file.exists():
            return dict(json.loads(facts_file.read_text()))
        for attempt in range(ATTEMPTS):
            # Another program may take a port between our looking and the server's asking: begin afresh.
            own = folder / f"{name}-{attempt}"
            own.mkdir()
            log = folder / f"{name}-{attempt}.log"
            argv, facts, ready = start(own)
            guardian = _guarded(argv, log)
            wait_until(
                lambda guardian=guardian, ready=ready: guardian.poll() is not None or bool(ready()),
                what=f"{name} to be ready; {tail(log)}",
                timeout_s=120,
            )
            if guardian.poll() is None:
                break
        else:
            message = f"{name} ended before it was ready:\n{tail(log)}"
            raise RuntimeError(message)
        facts["guardian"] = guardian.pid
        facts_file.write_text(json.dumps(facts))
        return facts


def _guarded(argv: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start `argv` under a guardian that ends it with the run."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.guardian", os.environ[_OWNER], *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=_ROOT,
            start_new_session=True,
        )
