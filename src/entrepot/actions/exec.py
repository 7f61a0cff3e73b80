"""`exec`: one more process in a running container."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
import tempfile
import termios
import tty
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from entrepot.actions.create import lifecycle_of
from entrepot.actions.start import Finished
from entrepot.containers.errors import ContainerNotRunning, RuntimeFailed
from entrepot.containers.lifecycle import Lifecycle
from entrepot.containers.records import Container
from entrepot.containers.rootless import may_set_groups
from entrepot.containers.runtime import Runtime, find_runtime, host_capabilities, start_exit_code
from entrepot.containers.spec import capabilities_of, environment, merged_environment, process_capabilities
from entrepot.containers.users import find_user
from entrepot.files import write_private
from entrepot.images.store import ImageStore


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """The flags of `exec`."""

    user: str | None = None
    env: Sequence[str] = ()
    working_dir: str | None = None
    tty: bool = False
    privileged: bool = False


def exec_in_container(
    name: str,
    command: Sequence[str],
    *,
    options: ExecOptions = ExecOptions(),
    stdin: bytes | None = None,
    store: ImageStore | Path | str | None = None,
) -> Finished:
    """Run a command in a running container to its end; its output and exit code.

    Raises NoSuchContainer, ContainerNotRunning, NoSuchUser, and RuntimeFailed when the command could not be
    started.
    """
    with _prepared(name, command, options, store) as (argv, log):
        done = subprocess.run(argv, input=stdin or b"", capture_output=True, check=False)
        _raise_failure(log, done.returncode)
    return Finished(done.returncode, done.stdout, done.stderr)


def exec_attached(
    name: str,
    command: Sequence[str],
    *,
    options: ExecOptions,
    stdin: bool,
    store: ImageStore | Path | str | None = None,
) -> int:
    """Run a command with this process's own streams; its exit code. Raises as `exec_in_container`."""
    with _prepared(name, command, options, store) as (argv, log):
        if options.tty and not os.isatty(0):
            code = _run_on_new_terminal(argv, log)
        else:
            with open(os.devnull, "rb") as null:  # noqa: PTH123 - a device
                code = _run_on_own_streams(argv, log, stdin=None if stdin or options.tty else null)
        _raise_failure(log, code)
        return code


def _run_on_own_streams(argv: Sequence[str], log: Path, *, stdin: BinaryIO | None) -> int:
    """Run the runtime and hand on what comes on stderr, except its own words about a failure."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(argv, stdin=stdin, stderr=theirs)
    os.close(theirs)
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ours, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while ours in {key.fd for key, _ in selector.select()}:
                data = os.read(ours, 1 << 16)
                if not data:
                    break
                _hand_on(data, log)
        # Once the runtime has ended only what is there already: a process left behind may keep the pipe open.
        return process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(ours)
        os.close(ended)


def _run_on_new_terminal(argv: Sequence[str], log: Path) -> int:
    """Run the runtime on a terminal of its own, since this process has none to lend; what appears there goes
    to stdout."""
    ours, theirs = os.openpty()
    tty.setraw(theirs, termios.TCSANOW)  # as the runtime makes it itself, but before anything is written
    mode = termios.tcgetattr(theirs)
    mode[1] &= ~termios.ONLCR  # the runtime turns OPOST on again
    termios.tcsetattr(theirs, termios.TCSANOW, mode)
    try:
        process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    finally:
        os.close(theirs)
    last = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal any more
        while data := os.read(ours, 1 << 16):
            _write_all(1, with_returns(data, last))
            last = data[-1:]
    os.close(ours)
    _hand_on(process.communicate()[1], log)
    return process.returncode


def with_returns(data: bytes, before: bytes = b"") -> bytes:
    """A terminal's ends of lines, however early the runtime has turned off those of the process's own one.

    `before` is the byte that came before `data`.
    """
    kept = before if before == b"\r" else b""
    return re.sub(rb"(?<!\r)\n", b"\r\n", kept + data)[len(kept) :]


def _hand_on(data: bytes, log: Path) -> None:
    """Write to stderr, unless the runtime has failed, which it logs first: `_raise_failure` tells that."""
    if not _failure(log):
        _write_all(2, data)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def exec_detached(
    name: str,
    command: Sequence[str],
    *,
    options: ExecOptions,
    store: ImageStore | Path | str | None = None,
) -> None:
    """Start a command and leave it to itself. Raises as `exec_in_container`."""
    with _prepared(name, command, options, store, detach=True) as (argv, log):
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        _raise_failure(log, done.returncode)
        if done.returncode:
            raise RuntimeFailed("the command could not be started", exit_code=done.returncode)


@contextlib.contextmanager
def _prepared(
    name: str,
    command: Sequence[str],
    options: ExecOptions,
    store: ImageStore | Path | str | None,
    *,
    detach: bool = False,
) -> Any:
    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    state = lifecycle.settled_state(container)
    if state.status != "running":
        raise ContainerNotRunning(container.id)
    runtime = Runtime(state.runtime) if state.runtime else find_runtime()
    process = _process(lifecycle, container, command, options)
    directory = lifecycle.containers.directory(container)
    with tempfile.TemporaryDirectory(prefix="exec-", dir=lifecycle.containers.store.paths.tmp) as folder:
        spec, log = Path(folder) / "process.json", Path(folder) / "log"
        write_private(spec, msgspec.json.encode(process))
        argv = runtime.argv(
            directory / "runtime",
            "--log",
            str(log),
            "--log-format",
            "json",
            "exec",
            *(["--detach"] if detach else []),
            "--process",
            str(spec),
            container.id,
        )
        yield argv, log


def _process(
    lifecycle: Lifecycle, container: Container, command: Sequence[str], options: ExecOptions
) -> dict[str, Any]:
    with lifecycle.rootfs(container).view() as tree:
        wanted = container.process.user if options.user is None else options.user
        user = find_user(wanted, tree, container.host.group_add)
    host = container.host
    capabilities = capabilities_of(
        host.cap_add,
        host.cap_drop,
        privileged=host.privileged or options.privileged,
        available=host_capabilities(),
    )
    env = merged_environment(environment(container), options.env)
    if options.tty and not any(item.startswith("TERM=") for item in env):
        env.append("TERM=xterm")
    groups = list(user.groups) if may_set_groups() else []
    return {
        "terminal": options.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": groups},
        "args": list(command),
        "env": env,
        "cwd": options.working_dir or container.process.working_dir or "/",
        "capabilities": process_capabilities(capabilities, user),
        "noNewPrivileges": host.no_new_privileges,
    }


def _raise_failure(log: Path, code: int) -> None:
    """When the runtime itself failed. Raises RuntimeFailed, in docker's words."""
    if code and (message := _failure(log)):
        raise RuntimeFailed(
            f"OCI runtime exec failed: {message}: unknown", exit_code=_exec_exit_code(message)
        )


def _failure(log: Path) -> str:
    """Why the runtime could not start the command; empty when it has not said."""
    message = ""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        for line in log.read_text(errors="replace").splitlines():
            record = msgspec.json.decode(line, type=dict[str, Any])
            if record.get("level") in ("error", "fatal"):
                message = str(record.get("msg", ""))
    return message


def _exec_exit_code(message: str) -> int:
    """127 for a command that is not there, else 126: also for a working directory that is not."""
    return 127 if start_exit_code(message) == 127 and "cwd" not in message else 126
