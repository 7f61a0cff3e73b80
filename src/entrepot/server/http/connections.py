"""Connections of clients that do not move: ended by the kernel, since Granian gives no handle on them."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Any


def refuse_to_wait(listener: socket.socket, seconds: float) -> None:
    """Accepted connections end when the peer acknowledges nothing, or takes nothing, for so long.

    Whoever asks for something and never reads would otherwise hold the answer in memory for ever.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)
    if user_timeout is not None and seconds > 0:
        listener.setsockopt(socket.IPPROTO_TCP, user_timeout, int(seconds * 1000))


def cut_connection(peer: tuple[Any, ...]) -> bool:
    """Shut down this process's connection with `peer` (address, port); whether there was one. Blocking."""
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():  # noqa: PTH208, PTH112
        with contextlib.suppress(OSError, ValueError):
            descriptor = int(name)
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as found:
                if found.getpeername()[:2] == (peer[0], int(peer[1])):
                    found.shutdown(socket.SHUT_RDWR)
                    return True
    return False
