"""Where the server listens: `host:port` read, bound, and judged. Binding gives one socket per worker."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from entrepot.errors import InvalidInput, Unavailable
from entrepot.server.connections import refuse_to_wait


class AddressInvalid(InvalidInput):
    """Not an address to listen on."""

    code: ClassVar[str] = "address-invalid"


class AddressInUse(Unavailable):
    """Something else listens there, or the address is not this machine's."""

    code: ClassVar[str] = "address-in-use"


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen. `host` is an IP address, `localhost`, or empty for every address."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`127.0.0.1:5000`, `:5000`, `[::1]:5000`, `localhost:0`. Raises AddressInvalid."""
        host, separator, port = text.rpartition(":")
        if not separator or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise AddressInvalid(f"{text!r} is not an address to listen on; write 127.0.0.1:5000")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        if host not in ("", "localhost"):
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise AddressInvalid(
                    f"{text!r}: {host!r} is neither an IP address nor localhost; write 127.0.0.1:{port}"
                ) from None
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or (bool(self.host) and ipaddress.ip_address(self.host).is_loopback)

    @property
    def bind_host(self) -> str:
        """`localhost` is bound as 127.0.0.1, every address as `::` (both families) where there is IPv6."""
        if self.host == "localhost":
            return "127.0.0.1"
        return self.host or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")  # noqa: S104 - asked for

    @property
    def shown(self) -> str:
        """How a person on this machine would type it."""
        if self.is_loopback and self.host != "::1":
            return f"localhost:{self.port}"
        host = self.host or "0.0.0.0"  # noqa: S104 - shown, not bound
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def bind(address: Address, *, workers: int, backlog: int, stuck_s: float = 0) -> list[socket.socket]:
    """`workers` listening sockets on one port; the kernel spreads connections over them.

    Nothing else may listen there, not even with SO_REUSEPORT: a plain bind is tried first. Connections that
    are stuck for `stuck_s` end. Port 0 becomes a free port, the same for all. Raises AddressInUse.
    """
    sockets: list[socket.socket] = []
    port = address.port
    try:
        if port:
            _open(address.bind_host, port, shared=False).close()
        for _ in range(workers):
            sockets.append(_open(address.bind_host, port, shared=True))
            port = sockets[0].getsockname()[1]
        for each in sockets:
            refuse_to_wait(each, stuck_s)
            each.listen(backlog)
    except OSError as error:
        for each in sockets:
            each.close()
        raise AddressInUse(
            f"cannot listen on {address.shown}: {(error.strerror or str(error)).lower()}",
            hint="choose another with --listen 127.0.0.1:5001, or stop what listens there",
        ) from error
    return sockets


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


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and networks of proxies. Raises AddressInvalid."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise AddressInvalid(
                f"{text!r} is not an IP address or network; write 10.0.0.0/8 or 127.0.0.1"
            ) from None
    return tuple(found)


def in_networks(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)
