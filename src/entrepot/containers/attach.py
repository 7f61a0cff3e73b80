"""Connects this process's standard streams with a container that has just been started."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import struct
import termios
import threading
import tty
from collections.abc import Callable, Iterator

from entrepot.containers.frames import FrameKind, received_frames, send_frame

_NOT_FORWARDED = frozenset((signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGWINCH,
                            signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT, signal.SIGSEGV,
                            signal.SIGILL, signal.SIGFPE, signal.SIGBUS, signal.SIGABRT, signal.SIGTRAP,
                            signal.SIGURG))  # fmt: skip
"""Signals that mean this process alone."""

DETACH_KEYS = b"\x10\x11"
"""ctrl-p ctrl-q, as docker's."""

Output = Callable[[FrameKind, bytes], None]


def attach(
    sock: socket.socket,
    *,
    stdin: bool,
    terminal: bool,
    output: Output | None = None,
    forward: Callable[[int], None] | None = None,
    detach_keys: bytes = DETACH_KEYS,
) -> int:
    """Copy until the process has ended; its exit code. 0 when somebody at the terminal typed `detach_keys`,
    which leaves it running.

    With `stdin`, this process's standard input is sent; with `terminal`, it is in raw mode meanwhile and its
    size is told. `forward` is given each signal that arrives, instead of this process.
    """
    detached = threading.Event()
    with contextlib.ExitStack() as stack:
        if terminal and os.isatty(0):
            stack.enter_context(_raw_terminal())
            stack.enter_context(_window_size_told(sock))
        if forward is not None:
            stack.enter_context(_signals_forwarded(forward))
        if stdin:
            keys = DetachKeys(detach_keys) if terminal and os.isatty(0) else None
            stack.enter_context(_input_sent(sock, keys, detached))
        write = output or _write_out
        for kind, data in received_frames(sock):
            if kind is FrameKind.EXITED:
                return int(data)
            write(kind, data)
    if detached.is_set():
        return 0
    return 128 + signal.SIGKILL  # the monitor has gone


def _write_out(kind: FrameKind, data: bytes) -> None:
    fd = 1 if kind is FrameKind.STDOUT else 2
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class DetachKeys:
    """Looks for a sequence in what is typed. What may be its beginning is held back until the next key."""

    def __init__(self, sequence: bytes = DETACH_KEYS) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence is complete; what was typed after it is dropped."""
        text = self._held + typed
        before, found, _ = text.partition(self._sequence)
        self._held = b""
        if found:
            return before, True
        for size in range(min(len(self._sequence) - 1, len(text)), 0, -1):
            if text.endswith(self._sequence[:size]):
                self._held = self._sequence[:size]
                break
        return text[: len(text) - len(self._held)], False


@contextlib.contextmanager
def _input_sent(sock: socket.socket, keys: DetachKeys | None, detached: threading.Event) -> Iterator[None]:
    """Send standard input from a thread until it ends or the block does. `keys` end the connection, and set
    `detached`."""
    stop_read, stop_write = os.pipe()

    def send() -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(stop_read, selectors.EVENT_READ)
            try:
                selector.register(0, selectors.EVENT_READ)
                pollable = True
            except PermissionError:  # a plain file is always ready
                pollable = False
            with contextlib.suppress(OSError):
                while True:
                    ready = {key.fd for key, _ in selector.select(None if pollable else 0)}
                    if stop_read in ready:
                        return
                    data = os.read(0, 1 << 16)
                    if not data:
                        break
                    left = False
                    if keys is not None:
                        data, left = keys.feed(data)
                    if data:
                        send_frame(sock, FrameKind.STDIN, data)
                    if left:
                        detached.set()
                        sock.shutdown(socket.SHUT_RDWR)
                        return
                send_frame(sock, FrameKind.STDIN_END)

    thread = threading.Thread(target=send, name="container-stdin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(stop_write, b"x")
        thread.join(1)
        os.close(stop_write)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)  # what was typed meanwhile is kept
    try:
        yield
    finally:
        # At once: waiting until all output is read would hang on a terminal that was stopped.
        termios.tcsetattr(0, termios.TCSANOW, before)


@contextlib.contextmanager
def _window_size_told(sock: socket.socket) -> Iterator[None]:
    def tell(*_: object) -> None:
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(0)
            send_frame(sock, FrameKind.RESIZE, struct.pack(">HH", size.lines, size.columns))

    tell()
    before = signal.signal(signal.SIGWINCH, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextlib.contextmanager
def _signals_forwarded(forward: Callable[[int], None]) -> Iterator[None]:
    before = {}
    for number in sorted(signal.valid_signals() - _NOT_FORWARDED):
        with contextlib.suppress(OSError, ValueError):
            before[number] = signal.signal(number, lambda caught, _: forward(caught))
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(OSError, ValueError, TypeError):
                signal.signal(number, handler)
