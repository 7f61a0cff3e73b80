"""The process that stays with a running container: its parent, its log, its exit code.

One for each running container, forked off by the command that starts it. It mounts the file system, lets the
OCI
runtime start the process, copies output to the log and to whoever is attached, and when the process ends
takes the
mount down and writes the state. Its lock (`monitor.lock`) ends with it, however it ends: that is how others
know. One long file: one loop, all of whose parts look at the same process, client and log.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from entrepot.containers.errors import RuntimeFailed
from entrepot.containers.frames import FrameKind, FrameParser, frame_of
from entrepot.containers.logs import LogWriter
from entrepot.containers.mounts import set_subreaper
from entrepot.containers.network import PROGRAMS, bound_ports, end_network, start_network
from entrepot.containers.processes import process_start
from entrepot.containers.records import Containers, PortBinding, State, utc_now
from entrepot.containers.restart import comes_again, ends_in_a_row, is_asked_to_stop, pause_s
from entrepot.containers.rootfs import RootFs, rootfs_of
from entrepot.containers.runtime import Runtime, failure_from_log
from entrepot.containers.volumes import remove_anonymous_volumes
from entrepot.errors import EntrepotError
from entrepot.images.snapshots import Snapshots, remove_path
from entrepot.images.store import ImageStore

_READ = 1 << 16
_MAX_PENDING_STDIN = 1 << 20
_ASK_EVERY_S = 0.05
_DRAIN_S = 5.0
"""How long output is read after the process has ended, in case something else holds the pipe."""


class Start(Struct, frozen=True):
    """What a monitor is told."""

    store: Path
    container_id: str
    runtime: Runtime
    stdin: bool
    """Somebody will send input."""


def spawn_monitor(start: Start, lock_fd: int, sock: socket.socket) -> None:
    """Start a monitor in the background; `lock_fd` holds `monitor.lock` and is the monitor's from here on.

    A program with one thread is forked; one with several starts a fresh interpreter, since forking it is not
    safe.
    """
    if threading.active_count() > 1:
        _spawn_program(start, lock_fd, sock)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        _run_detached(start, lock_fd, sock.fileno())
    finally:
        os._exit(1)


def _spawn_program(start: Start, lock_fd: int, sock: socket.socket) -> None:
    fds = (lock_fd, sock.fileno())
    words = [str(start.store), start.container_id, start.runtime.path, str(int(start.runtime.rootless)),
             str(int(start.stdin)), str(lock_fd), str(sock.fileno())]  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "entrepot.containers.monitor", *words],
        pass_fds=fds,
        start_new_session=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )


def _run_detached(start: Start, lock_fd: int, sock_fd: int) -> None:
    """The monitor's whole life, in a process of its own."""
    _close_all_but(lock_fd, sock_fd)
    os.chdir("/")
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGPIPE,
        signal.SIGTSTP,
    ):
        signal.signal(number, signal.SIG_IGN)
    sock = socket.socket(fileno=sock_fd)
    code = 1
    try:
        monitor = Monitor(start, sock)
        ends = 0
        while (lasted := monitor.run()) is not None:
            monitor.leave_client(lock_fd)
            ends = ends_in_a_row(ends, lasted_s=lasted)
            monitor = Monitor(msgspec.structs.replace(start, stdin=False), None)
            if not monitor.waits(pause_s(ends)):
                break
        os.close(lock_fd)  # it is over for everybody but a client that is slow to read
        monitor.finish()
        code = 0
    finally:
        os._exit(code)


def _close_all_but(*kept: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    last = 3
    for fd in sorted(kept):
        os.closerange(last, fd)
        last = fd + 1
    os.closerange(last, 1 << 16)


class Monitor:
    """Starts one container and sees it through."""

    def __init__(self, start: Start, sock: socket.socket | None) -> None:
        self._start = start
        self._containers = Containers(ImageStore(start.store))
        self._container = self._containers.find(start.container_id)
        self._directory = self._containers.directory(self._container)
        self._client = sock
        self._again = sock is None
        self._unsent = bytearray()
        self._pidfd = -1
        self._parser = FrameParser()
        self._selector = selectors.DefaultSelector()
        kept = self._container.host.log_driver != "none"
        self._log = LogWriter(self._directory / "log" if kept else Path(os.devnull))
        self._stdin = -1
        self._pending_stdin = bytearray()
        self._stdin_ending = False
        self._console = -1
        self._open_outputs: dict[int, FrameKind] = {}

    def run(self) -> float | None:
        """Start, watch, clean up. Whatever happens is told to the client and written into the state.

        When the process is to be started again, for how many seconds it ran.
        """
        rootfs = rootfs_of(self._containers, self._container, Snapshots(self._containers.store))
        began = time.monotonic()
        try:
            pid = self._begin(rootfs)
        except EntrepotError as error:
            code = getattr(error, "run_exit_code", 125)
            self._end(rootfs, code, error=error.message)
            self._tell(FrameKind.FAILED, msgspec.json.encode({"message": error.message, "exit_code": code,
                                                              "hint": error.hint}))  # fmt: skip
            return None
        if self._again and is_asked_to_stop(self._directory):  # while it was being started
            os.kill(pid, signal.SIGKILL)
        self._tell(FrameKind.STARTED, str(pid).encode())
        problem = ""
        try:
            code = self._watch(pid)
        except Exception as failure:  # noqa: BLE001 - whatever it was, the container may not be left without a parent
            os.kill(pid, signal.SIGKILL)
            problem, code = f"its monitor failed: {type(failure).__name__}: {failure}", 128 + signal.SIGKILL
        again = not problem and self._comes_again(code)
        self._end(rootfs, code, error=problem, again=again)
        self._tell(FrameKind.EXITED, str(code).encode())
        return time.monotonic() - began if again else None

    # Starting again.

    def _comes_again(self, code: int) -> bool:
        host = self._container.host
        restarts = self._containers.state(self._container).restarts
        return not is_asked_to_stop(self._directory) and comes_again(
            host.restart, host.restart_retries, restarts=restarts, exit_code=code
        )

    def leave_client(self, lock_fd: int) -> None:
        """A process of its own sends what the client has not read: a slow one holds up no restart.

        The end of this monitor; another sees the next run through.
        """
        self._selector.close()
        for fd in {self._stdin, self._console, *self._open_outputs} - {-1}:
            with contextlib.suppress(OSError):
                os.close(fd)
        if self._client is None:
            return
        if self._unsent:
            child = os.fork()
            if child == 0:
                os.close(lock_fd)
                self.finish()
                os._exit(0)
        self._client.close()
        self._client = None

    def waits(self, seconds: float) -> bool:
        """Wait before the next start; False when somebody asked meanwhile that there be none."""
        deadline = time.monotonic() + seconds
        while not is_asked_to_stop(self._directory):
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(left, _ASK_EVERY_S))
        with contextlib.suppress(FileNotFoundError):
            state = self._containers.state(self._container)
            self._containers.write_state(self._container, msgspec.structs.replace(state, status="exited"))
        return False

    # Starting.

    def _begin(self, rootfs: RootFs) -> int:
        set_subreaper()
        rootfs.mount()
        ports = bound_ports(self._container) if self._has_own_network() else []
        pid = self._launch(ports)
        self._containers.write_state(
            self._container,
            State(
                status="running",
                pid=pid,
                pid_start=process_start(pid),
                started=utc_now(),
                runtime=self._start.runtime.path,
                monitor_pid=os.getpid(),
                ports=ports,
                restarts=self._containers.state(self._container).restarts if self._again else 0,
            ),
        )
        return pid

    def _has_own_network(self) -> bool:
        return self._container.host.network in PROGRAMS

    def _launch(self, ports: Sequence[PortBinding]) -> int:
        pid_file, log = self._directory / "pid", self._directory / "runtime.log"
        log.unlink(missing_ok=True)
        pid_file.unlink(missing_ok=True)
        state = self._directory / "runtime"
        remove_path(state)
        # With a network of its own, the process starts only once that is there.
        verb = ["create"] if self._has_own_network() else ["run", "--detach"]
        arguments = ["--log", str(log), "--log-format", "json", *verb,
                     "--bundle", str(self._directory / "bundle"), "--pid-file", str(pid_file)]  # fmt: skip
        argv = self._start.runtime.argv(state, *arguments)
        run = self._run_with_console if self._container.process.tty else self._run_with_pipes
        code, output = run(argv)
        if code != 0:
            raise failure_from_log(self._start.runtime.name, log, output)
        try:
            pid = int(pid_file.read_text())
        except (OSError, ValueError) as error:
            raise RuntimeFailed(f"{self._start.runtime.name} did not tell the process it started") from error
        if self._has_own_network():
            start_network(self._container, pid, ports, self._directory)
            started = self._start.runtime.call(
                state, "--log", str(log), "--log-format", "json", "start", self._container.id, check=False
            )
            if started.returncode != 0:
                raise failure_from_log(self._start.runtime.name, log, started.stderr)
        return pid

    def _run_with_pipes(self, argv: list[str]) -> tuple[int, str]:
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        in_read, in_write = os.pipe() if self._start.stdin else (os.open(os.devnull, os.O_RDONLY), -1)
        done = subprocess.run(
            [*argv, self._container.id], stdin=in_read, stdout=out_write, stderr=err_write, check=False
        )
        for fd in (in_read, out_write, err_write):
            os.close(fd)
        if done.returncode != 0:
            text = _drained(err_read)
            for fd in (out_read, err_read):
                os.close(fd)
            return done.returncode, text
        self._watch_output(out_read, FrameKind.STDOUT)
        self._watch_output(err_read, FrameKind.STDERR)
        if in_write >= 0:
            os.set_blocking(in_write, False)
            self._stdin = in_write
        return 0, ""

    def _run_with_console(self, argv: list[str]) -> tuple[int, str]:
        import tempfile

        # A socket's path is at most 107 bytes long, so it cannot be in the store.
        with (
            tempfile.TemporaryDirectory(prefix="entrepot-") as folder,
            socket.socket(socket.AF_UNIX) as listener,
        ):
            path = f"{folder}/console"
            listener.bind(path)
            listener.listen(1)
            process = subprocess.Popen(
                [*argv, "--console-socket", path, self._container.id],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            console = _received_console(listener, process)
            output = process.communicate()[0].decode(errors="replace")
        if process.returncode != 0:
            if console >= 0:
                os.close(console)
            return process.returncode, output
        self._console = console
        os.set_blocking(console, False)
        self._stdin = console
        self._watch_output(console, FrameKind.STDOUT)
        return 0, ""

    def _watch_output(self, fd: int, kind: FrameKind) -> None:
        self._open_outputs[fd] = kind
        self._selector.register(fd, selectors.EVENT_READ, self._on_output)

    # Watching.

    def _watch(self, pid: int) -> int:
        ended = False
        pidfd = self._pidfd = os.pidfd_open(pid)

        def on_exit(_: int, __: int) -> None:
            nonlocal ended
            ended = True

        self._selector.register(pidfd, selectors.EVENT_READ, on_exit)
        if self._client is not None:
            self._selector.register(self._client, selectors.EVENT_READ, self._on_client)
        while not ended:
            self._turn(None)
        self._selector.unregister(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._pidfd = -1
        os.close(pidfd)
        while self._open_outputs and self._turn(_DRAIN_S):
            pass
        self._log.close()
        return code if code >= 0 else 128 - code

    def _turn(self, timeout_s: float | None) -> bool:
        """Handle what is ready; False when nothing was for `timeout_s`."""
        events = self._selector.select(timeout_s)
        for key, mask in events:
            handler: Callable[[int, int], None] = key.data
            handler(key.fd, mask)
        return bool(events)

    def _on_output(self, fd: int, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._write_stdin()
        if not mask & selectors.EVENT_READ or fd not in self._open_outputs:
            return
        kind = self._open_outputs[fd]
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:
            return
        except OSError:  # a terminal whose other side is closed
            data = b""
        if not data:
            self._selector.unregister(fd)
            del self._open_outputs[fd]
            if fd != self._console:
                os.close(fd)
            return
        self._log.write("stdout" if kind is FrameKind.STDOUT else "stderr", data)
        self._tell(kind, data)

    def _on_client(self, _: int, __: int) -> None:
        if self._client is None:  # dropped by another event of the same turn
            return
        try:
            data = self._client.recv(_READ)
        except OSError:
            data = b""
        if not data:
            self._drop_client()
            return
        for kind, body in self._parser.feed(data):
            if kind is FrameKind.STDIN:
                self._pending_stdin += body
            elif kind is FrameKind.STDIN_END:
                self._stdin_ending = True
            elif kind is FrameKind.RESIZE and self._console >= 0:
                rows, columns = struct.unpack(">HH", body)
                with contextlib.suppress(OSError):
                    fcntl.ioctl(self._console, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._write_stdin()

    def _drop_client(self) -> None:
        if self._client is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._client)
            self._client.close()
            self._client = None
            self._unsent.clear()
            self._stdin_ending = True
            self._write_stdin()

    def _write_stdin(self) -> None:
        """Hand on what fits; the rest waits until the container reads."""
        if self._stdin < 0:
            self._pending_stdin.clear()
            return
        try:
            while self._pending_stdin:
                del self._pending_stdin[: os.write(self._stdin, self._pending_stdin[:_READ])]
        except BlockingIOError:
            pass
        except OSError:
            self._pending_stdin.clear()
            self._stdin_ending = True
        waiting = bool(self._pending_stdin)
        if self._stdin != self._console:
            self._want_to_write(waiting)
        elif self._console in self._open_outputs:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0)
            self._selector.modify(self._console, events, self._on_output)
        self._want_client(len(self._pending_stdin) < _MAX_PENDING_STDIN)
        if self._stdin_ending and not waiting and self._stdin != self._console:
            self._want_to_write(False)
            os.close(self._stdin)
            self._stdin = -1

    def _want_to_write(self, wanted: bool) -> None:
        known = self._stdin in self._selector.get_map()
        if wanted and not known:
            self._selector.register(self._stdin, selectors.EVENT_WRITE, lambda _, __: self._write_stdin())
        elif known and not wanted:
            self._selector.unregister(self._stdin)

    def _want_client(self, wanted: bool) -> None:
        if self._client is None:
            return
        known = self._client.fileno() in self._selector.get_map()
        if wanted and not known:
            self._selector.register(self._client, selectors.EVENT_READ, self._on_client)
        elif known and not wanted:
            self._selector.unregister(self._client)

    def _tell(self, kind: FrameKind, data: bytes) -> None:
        if self._client is not None:
            self._unsent += frame_of(kind, data)
            self._send()

    def _send(self) -> None:
        """Wait for a client that does not read (`| less`) while the process lives; `finish` does the rest."""
        while self._unsent and self._client is not None:
            try:
                del self._unsent[: self._client.send(self._unsent, socket.MSG_DONTWAIT)]
            except BlockingIOError:
                if self._pidfd < 0 or not self._client_reads():
                    return
            except OSError:
                self._drop_client()

    def _client_reads(self) -> bool:
        """Wait; False when the process ended first."""
        assert self._client is not None
        poll = select.poll()
        poll.register(self._client, select.POLLOUT)
        poll.register(self._pidfd, select.POLLIN)
        return self._client.fileno() in {fd for fd, _ in poll.poll()}

    def finish(self) -> None:
        """Send what the client has not read yet, however long that takes."""
        if self._client is not None and self._unsent:
            with contextlib.suppress(OSError):
                self._client.sendall(self._unsent)

    # Ending.

    def _end(self, rootfs: RootFs, code: int, *, error: str = "", again: bool = False) -> None:
        self._log.close()
        end_network(self._directory)
        state = self._directory / "runtime"
        if error:
            self._start.runtime.delete(state, self._container.id)
        else:
            self._start.runtime.forget(state, self._container.id)
        rootfs.release()
        before = self._containers.state(self._container)
        status = "created" if error and before.started is None else "restarting" if again else "exited"
        if self._log.lost and not error:
            error = "some of its output is not in the log: no space was left on the disk"
        self._containers.write_state(
            self._container,
            State(
                status=status,
                exit_code=code,
                started=before.started,
                finished=utc_now() if status != "created" else None,
                error=error,
                restarts=before.restarts + again,
            ),
        )
        if self._container.host.auto_remove:
            with contextlib.suppress(EntrepotError, OSError):
                rootfs.unmount()
                remove_anonymous_volumes(self._containers, self._container)
                self._containers.remove(self._container)


def _drained(fd: int) -> str:
    """What is in a pipe that nobody writes to any more."""
    parts = []
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while data := os.read(fd, _READ):
            parts.append(data)
    return b"".join(parts).decode(errors="replace")


def _received_console(listener: socket.socket, process: subprocess.Popen[Any]) -> int:
    """The terminal that the runtime sends, or -1 when it ended without."""
    import array

    listener.settimeout(0.2)
    while True:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            if process.poll() is not None:
                return -1
            continue
        with connection:
            connection.settimeout(60)
            _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_LEN(array.array("i", [0]).itemsize))
            fds = array.array("i")
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            return fds[0] if fds else -1


def _main(words: list[str]) -> None:
    store, container_id, path, rootless, stdin, lock_fd, sock_fd = words
    if os.fork():
        return
    start = Start(Path(store), container_id, Runtime(path, rootless == "1"), stdin == "1")
    _run_detached(start, int(lock_fd), int(sock_fd))


if __name__ == "__main__":
    _main(sys.argv[1:])
