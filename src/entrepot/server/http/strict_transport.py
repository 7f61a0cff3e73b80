"""Strict-Transport-Security: browsers that came over TLS come over nothing else from then on. Pure.

The header holds for the host name on every port. So localhost, which other programs of the same machine
share, never gets it; browsers pass over it for IP addresses. RFC 6797.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from entrepot.server.http.open_mode_guard import host_of


class StrictTransport:
    """Which answers get the header. `seconds` is how long it holds; 0: none does."""

    def __init__(self, seconds: float = 0) -> None:
        self._headers = ((b"strict-transport-security", b"max-age=%d" % seconds),) if seconds >= 1 else ()

    def headers(self, authority: str) -> Sequence[tuple[bytes, bytes]]:
        """For an answer to a request that came over TLS to `authority` (the Host header)."""
        return self._headers if self._headers and _is_named(authority) else ()


@lru_cache(maxsize=256)
def _is_named(authority: str) -> bool:
    name = host_of(authority)
    if name == "localhost" or name.endswith(".localhost"):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False
