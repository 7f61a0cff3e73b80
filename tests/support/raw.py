"""Raw connections: what exactly is sent, what exactly comes back."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What came back on a raw connection until it was closed or the first answer was whole."""

    status: int
    head: bytes
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["errors"][0]["code"])


def read_answer(connection: socket.socket) -> RawAnswer:
    """One answer, with a body of Content-Length. Status 0 when the connection was closed without one."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = _receive(connection)
        if not more:
            return RawAnswer(0, got, b"")
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        more = _receive(connection)
        if not more:
            break
        body += more
    return RawAnswer(status, head, body)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def is_closed(connection: socket.socket) -> bool:
    """Read until the server closes; False when it did not within the socket's timeout."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


Connect = Callable[..., socket.socket]
