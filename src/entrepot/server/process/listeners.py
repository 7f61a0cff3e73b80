"""The sockets that the server listens on: one a worker, on one port."""

from __future__ import annotations

import socket
from typing import ClassVar

from entrepot.errors import Unavailable
from entrepot.server.config.addresses import Address
from entrepot.server.http.connections import refuse_to_wait

__all__ = ["AddressInUse", "bind", "require_free"]


class AddressInUse(Unavailable):
    """Something else listens there, or the address is not this machine's."""

    code: ClassVar[str] = "address-in-use"


def require_free(address: Address) -> None:
    """Raises AddressInUse at once for what `bind` would refuse, before the work that precedes it."""
    if not address.port:
        return
    try:
        _open(address.bind_host, address.port, shared=False).close()
    except OSError as error:
        raise _in_use(address, error) from error


def bind(address: Address, *, workers: int, backlog: int, stuck_s: float = 0) -> list[socket.socket]:
    """`workers` listening sockets on one port; the kernel spreads connections over them.

    Nothing else may listen there, not even with SO_REUSEPORT: a plain bind is tried first. Connections that
    are stuck for `stuck_s` end. Port 0 becomes a free port, the same for all. Raises AddressInUse.
    """
    sockets: list[socket.socket] = []
    port = address.port
    require_free(address)
    try:
        for _ in range(workers):
            sockets.append(_open(address.bind_host, port, shared=True))
            port = sockets[0].getsockname()[1]
        for each in sockets:
            refuse_to_wait(each, stuck_s)
            each.listen(backlog)
    except OSError as error:
        for each in sockets:
            each.close()
        raise _in_use(address, error) from error
    return sockets


def _in_use(address: Address, error: OSError) -> AddressInUse:
    return AddressInUse(
        f"cannot listen on {address.shown}: {(error.strerror or str(error)).lower()}",
        hint="choose another with --listen 127.0.0.1:5001, or stop what listens there",
    )


def _open(host: str, port: int, *, shared: bool) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if host == "::":
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setblocking(False)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
