"""Connections of clients that do not move: ended by the kernel, since Granian gives no handle on them."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Collection, Iterator
from typing import Any, Final

_OPEN: Final = "/proc/self/fd"
Peer = tuple[str, str]
"""Address and port, as Granian puts them into a request's scope."""


def refuse_to_wait(listener: socket.socket, seconds: float) -> None:
    """Accepted connections end when the peer acknowledges nothing, or takes nothing, for so long.

    Whoever asks for something and never reads would otherwise hold the answer in memory for ever.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)
    if user_timeout is not None and seconds > 0:
        listener.setsockopt(socket.IPPROTO_TCP, user_timeout, int(seconds * 1000))


def descriptor_count() -> int:
    """Open descriptors of this process; 0 where the system does not tell."""
    return len(_descriptors())


def connections_at(ports: Collection[int]) -> Iterator[tuple[int, Peer]]:
    """Descriptor and peer of this process's connections with clients of the listeners at `ports`.

    Blocking. A descriptor may be another's by the time it is looked at: `cut` asks again.
    """
    for descriptor in _descriptors():
        with contextlib.suppress(OSError, ValueError):
            # Family and type are given so that nobody asks for them; the addresses tell what it really is.
            found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
            try:
                own, peer = found.getsockname(), found.getpeername()
            finally:
                found.detach()
            if isinstance(own, tuple) and own[1] in ports:
                yield descriptor, _named(peer)


def cut(descriptor: int, peer: Peer) -> bool:
    """Shut down the connection if it is still the one with `peer`; whether it was."""
    with contextlib.suppress(OSError, IndexError), socket.socket(fileno=os.dup(descriptor)) as found:
        if _named(found.getpeername()) == (peer[0], str(peer[1])):
            found.shutdown(socket.SHUT_RDWR)
            return True
    return False


def _named(address: tuple[Any, ...]) -> Peer:
    return str(address[0]), str(address[1])


def cut_connection(peer: Peer) -> bool:
    """Shut down this process's connection with `peer`; whether there was one. Blocking."""
    for descriptor in _descriptors():
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode) and cut(descriptor, peer):
                return True
    return False


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir(_OPEN)] if os.path.isdir(_OPEN) else []  # noqa: PTH208, PTH112
