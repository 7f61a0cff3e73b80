"""Processes that tests start: always ended, by their id, with all they started themselves."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path


def wait_until(condition: Callable[[], object], *, what: str, timeout_s: float = 60.0) -> None:
    """Return as soon as `condition()` is true; raise TimeoutError naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    pause = 0.01
    while not condition():
        if time.monotonic() > deadline:
            message = f"waited {timeout_s:.0f} s in vain for {what}"
            raise TimeoutError(message)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def end(process: subprocess.Popen[bytes], *, patience_s: float = 20.0) -> None:
    """End `process` and its process group: TERM first, KILL after `patience_s`; reaps it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    _signal_group(process, signal.SIGKILL)
    process.wait(30)


@contextlib.contextmanager
def started(
    argv: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    ready: Callable[[], object] | None = None,
    timeout_s: float = 90.0,
    cwd: Path | None = None,
    patience_s: float = 20.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `argv` in a process group of its own, its output in `log`, until the block ends.

    With `ready`, the block starts when `ready()` is true; a process that ends before raises
    RuntimeError with the tail of its output.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    try:
        if ready is not None:
            _wait_ready(process, ready, log, timeout_s)
        yield process
    finally:
        end(process, patience_s=patience_s)


def _wait_ready(
    process: subprocess.Popen[bytes], ready: Callable[[], object], log: Path, timeout_s: float
) -> None:
    def settled() -> bool:
        return process.poll() is not None or bool(ready())

    try:
        wait_until(settled, what=f"{process.args!r} to be ready", timeout_s=timeout_s)
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{tail(log)}") from error
    if process.poll() is not None:
        message = f"{process.args!r} ended with {process.returncode} before it was ready:\n{tail(log)}"
        raise RuntimeError(message)


def tail(log: Path, *, max_chars: int = 4_000) -> str:
    """The last `max_chars` characters of a log file, empty when there is none."""
    try:
        return log.read_text(errors="replace")[-max_chars:]
    except FileNotFoundError:
        return ""
