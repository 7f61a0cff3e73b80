"""What a monitor and whoever started it say to each other over a socket: one byte of kind, four of length,
the bytes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from enum import Enum

_HEAD = struct.Struct(">cI")
MAX_FRAME = 1 << 20


class FrameKind(Enum):
    """Kinds of frames; those of the first group go to the monitor."""

    STDIN = b"i"
    STDIN_END = b"c"
    RESIZE = b"r"  # rows and columns, two 16-bit numbers

    STARTED = b"s"  # the process's id, decimal
    FAILED = b"f"  # JSON: message, exit_code
    STDOUT = b"o"
    STDERR = b"e"
    EXITED = b"x"  # the exit code, decimal


Frame = tuple[FrameKind, bytes]


def send_frame(sock: socket.socket, kind: FrameKind, data: bytes = b"") -> None:
    """Send one frame whole. Raises OSError when the other side has gone."""
    sock.sendall(frame_of(kind, data))


def frame_of(kind: FrameKind, data: bytes = b"") -> bytes:
    """One frame's bytes."""
    return _HEAD.pack(kind.value, len(data)) + data


class FrameParser:
    """Puts frames together from what a socket gives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames that are complete now. Raises ValueError for what is no frame."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._buffer)
            if size > MAX_FRAME:
                raise ValueError(f"a frame of {size} bytes")
            if len(self._buffer) < _HEAD.size + size:
                return
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + size])
            del self._buffer[: _HEAD.size + size]
            yield FrameKind(kind), body


def received_frames(sock: socket.socket) -> Iterator[Frame]:
    """Frames until the other side closes."""
    parser = FrameParser()
    while data := sock.recv(1 << 16):
        yield from parser.feed(data)
