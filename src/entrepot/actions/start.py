"""`start` and `run`: a container's process, in the background or to its end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from entrepot.actions.create import lifecycle_of
from entrepot.containers.frames import FrameKind, received_frames, send_frame
from entrepot.containers.lifecycle import exit_code_from
from entrepot.images.store import ImageStore

_PIECE = 1 << 16


class Finished(Struct):
    """What a process that has ended left: its code and, when it was waited for, its output."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    container_id: str = ""


def start_container(name: str, *, store: ImageStore | Path | str | None = None) -> None:
    """Start a container in the background; one that runs already is left alone.

    Raises NoSuchContainer, NoRuntime, RuntimeFailed.
    """
    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    if lifecycle.settled_state(container).status == "running":
        return
    lifecycle.start(container)[1].close()


def collect_output(sock: socket.socket, *, stdin: bytes | None = None) -> Finished:
    """Everything a started container writes until it ends. Closes the socket."""
    parts: dict[FrameKind, list[bytes]] = {FrameKind.STDOUT: [], FrameKind.STDERR: []}
    code = 137
    with sock, _input_sent(sock, stdin):
        for kind, data in received_frames(sock):
            if kind is FrameKind.EXITED:
                code = int(data)
                break
            parts[kind].append(data)
    return Finished(code, b"".join(parts[FrameKind.STDOUT]), b"".join(parts[FrameKind.STDERR]))


@contextlib.contextmanager
def _input_sent(sock: socket.socket, stdin: bytes | None) -> Iterator[None]:
    """Send it beside the block: a program that answers while it reads would wait for us, and we for it."""
    if stdin is None:
        yield
        return

    def send() -> None:
        with contextlib.suppress(OSError):  # it may end without reading everything
            for at in range(0, len(stdin), _PIECE):
                send_frame(sock, FrameKind.STDIN, stdin[at : at + _PIECE])
            send_frame(sock, FrameKind.STDIN_END)

    thread = threading.Thread(target=send, name="container-stdin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        thread.join()


__all__ = ["Finished", "collect_output", "exit_code_from", "start_container"]
