"""How much of a worker each client address has: requests in flight, and connections.

Without a limit one machine that opens connections and says nothing on them keeps everybody else out, since a
listener has only so many. What a /64 of IPv6 holds is one client's to choose from and counts as one address.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from entrepot.observability.logs import get_log
from entrepot.server.config.addresses import Network, in_networks
from entrepot.server.http.connections import Peer, connections_at, cut, descriptor_count

__all__ = ["Crowd", "share_of"]

log = get_log(__name__)

WIDE: Final = 8
"""Loopback and proxies stand for many clients: they get so many shares."""
LOOPBACK: Final = "loopback"
_SWEEP_S: Final = 1.0


@lru_cache(maxsize=4096)
def share_of(address: str) -> str:
    """What `address` is counted under. Pure."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address or "nobody"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return LOOPBACK if ip.is_loopback else str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
        ip = ip.ipv4_mapped
    return LOOPBACK if ip.is_loopback else str(ip)


class Crowd:
    """One per worker. 0 is no limit; `ports` are those the worker listens on."""

    def __init__(
        self,
        *,
        requests: int = 0,
        connections: int = 0,
        proxies: Sequence[Network] = (),
        ports: Iterable[int] = (),
    ) -> None:
        self._most_requests = requests
        self._most_connections = connections
        self._proxies = proxies
        self._ports = frozenset(ports)
        self._requests: dict[str, int] = {}
        self._busy: dict[Peer, int] = {}

    def enter(self, address: str, peer: Peer) -> str:
        """What one more request of `address`, on the connection with `peer`, is counted under.

        Empty: it may not be answered. Otherwise `leave` must follow.
        """
        share, requests, busy = share_of(address), self._requests, self._busy
        count = requests.get(share, 0)
        if count >= self._most_requests > 0 and count >= self._most_requests * self._shares(share, address):
            return ""
        requests[share] = count + 1
        busy[peer] = busy.get(peer, 0) + 1
        return share

    def leave(self, share: str, peer: Peer) -> None:
        """The request that `enter` counted under `share` is answered."""
        count = self._requests.pop(share)
        if count > 1:
            self._requests[share] = count - 1
        count = self._busy.pop(peer)
        if count > 1:
            self._busy[peer] = count - 1

    def _shares(self, share: str, address: str) -> int:
        return WIDE if share == LOOPBACK or in_networks(address, self._proxies) else 1

    async def run(self) -> None:
        """Close connections of who has too many, for ever."""
        while self._most_connections:
            await asyncio.sleep(_SWEEP_S)
            if descriptor_count() > self._most_connections:
                await asyncio.to_thread(self.disperse)

    def disperse(self) -> int:
        """Close what is too much of connections without a request; how many. Blocking, for a thread."""
        by_share: dict[str, list[tuple[int, Peer]]] = {}
        for descriptor, peer in connections_at(self._ports):
            by_share.setdefault(share_of(peer[0]), []).append((descriptor, peer))
        closed = 0
        for share, found in by_share.items():
            excess = len(found) - self._most_connections * self._shares(share, found[0][1][0])
            if excess <= 0:
                continue
            ended = 0
            for descriptor, peer in reversed(found):
                if ended == excess:
                    break
                ended += peer not in self._busy and cut(descriptor, peer)
            log.warning("connections closed", address=share, open=len(found), closed=ended)
            closed += ended
        return closed
