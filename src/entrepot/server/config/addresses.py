"""Where the server listens, and networks of proxies: as they are written, and judged. Pure."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from entrepot.errors import InvalidInput


class AddressInvalid(InvalidInput):
    """Not an address to listen on."""

    code: ClassVar[str] = "address-invalid"


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
