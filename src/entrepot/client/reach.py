"""How far inside an address is, and connections that go no further inside than they may.

A name somebody else chose (a redirect's, a token server's, a discovery document's) is resolved once, every
address it has is judged, and the connection goes to one of exactly those: a second look-up could answer
differently. TLS is still checked against the name. Spellings don't matter, since addresses are judged and not
names: `127.1`, `0x7f.1` and `2130706433` are 127.0.0.1 to every resolver, and an IPv6 address that carries an
IPv4 one (mapped, NAT64, 6to4, Teredo) is as far inside as what it carries.
"""

from __future__ import annotations

import enum
import ipaddress
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from entrepot.client.errors import DestinationForbidden

__all__ = ["Reach", "guarded_pools", "literal_reach", "reach_of", "require_reach"]


class Reach(enum.IntEnum):
    """Larger is further inside."""

    PUBLIC = 0
    PRIVATE = 1
    """A network of one's own."""
    MACHINE = 2
    """Loopback."""
    STRANGE = 3
    """Link-local (cloud metadata), unspecified (this machine again), multicast: nobody is sent there."""


_TOLD = {
    Reach.PUBLIC: "a public address",
    Reach.PRIVATE: "an address of a private network",
    Reach.MACHINE: "this machine",
    Reach.STRANGE: "a local address",
}
_EMBEDDING = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64, RFC 6052
        "64:ff9b:1::/48",  # NAT64 of one's own, RFC 8215
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
    )
)
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_OLD_SPELLING = re.compile(r"[0-9a-fA-FxX.]+")


def reach_of(address: str) -> Reach:
    """Of an address as `getaddrinfo` or a person writes it. Pure. Raises ValueError for anything else."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return _reach(parsed)
    return max([_reach(parsed), *map(_reach, _carried(parsed))])


def literal_reach(name: str) -> Reach | None:
    """Of a host name that is an address however it is spelled; None for any other. Nothing is resolved."""
    try:
        return reach_of(name)
    except ValueError:
        pass
    if not _OLD_SPELLING.fullmatch(name.rstrip(".")):
        return None
    try:
        return reach_of(socket.inet_ntoa(socket.inet_aton(name.rstrip("."))))
    except OSError:
        return None


def require_reach(found: Reach, most: Reach, host: str) -> None:
    """Raises DestinationForbidden when `host` is further inside than it may be."""
    if found <= most:
        return
    told = "is not a public address" if most is Reach.PUBLIC else f"is {_TOLD[found]}"
    raise DestinationForbidden(f"{host} {told}; connecting there is not allowed")


def guarded_pools(
    most: Reach, *, connected: Callable[[str, socket.socket, Reach], object] | None = None
) -> dict[str, type]:
    """For `PoolManager.pool_classes_by_scheme`. `connected` is told of each connection, with its host's name.

    Requests raise DestinationForbidden for a host with an address further inside than `most`.
    """

    def connect(connection: HTTPConnection) -> socket.socket:
        made, reach = _connect(connection, most)
        if connected is not None:
            connected(connection.host, made, reach)
        return made

    class _Http(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class _Https(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class _HttpPool(urllib3.HTTPConnectionPool):
        ConnectionCls = _Http

    class _HttpsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = _Https

    return {"http": _HttpPool, "https": _HttpsPool}


def _connect(connection: Any, most: Reach) -> tuple[socket.socket, Reach]:
    host, port = connection._dns_host, connection.port
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        cause = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
        raise NameResolutionError(host, connection, cause) from error
    addresses = list(dict.fromkeys(_address(sockaddr) for *_, sockaddr in found))
    reach = max(map(reach_of, addresses))
    require_reach(reach, most, host)
    failed: OSError = OSError("no address")
    for address in addresses:
        try:
            made = create_connection(
                (address, port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failed = error
        else:
            return made, reach
    if isinstance(failed, TimeoutError):
        raise ConnectTimeoutError(connection, f"Connection to {host} timed out.") from failed
    raise NewConnectionError(connection, f"Failed to establish a new connection: {failed}") from failed


def _address(sockaddr: tuple[Any, ...]) -> str:
    """With its zone, which link-local ones need."""
    zone = sockaddr[3] if len(sockaddr) > 3 else 0
    return f"{sockaddr[0]}%{zone}" if zone and "%" not in sockaddr[0] else str(sockaddr[0])


def _reach(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Reach:
    if address.is_loopback:
        return Reach.MACHINE
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return Reach.STRANGE
    if isinstance(address, ipaddress.IPv4Address) and address in _THIS_NETWORK:
        return Reach.STRANGE
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE


def _carried(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """IPv4 addresses that a packet to this one may end at."""
    if address.is_loopback or address.is_unspecified:
        return
    if any(address in network for network in _EMBEDDING) or address.ipv4_mapped is not None:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield address.teredo[1]
