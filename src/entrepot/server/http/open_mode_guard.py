"""What open mode refuses before anything else: names it does not go by, and other sites' pages.

A page a person visits can make their browser send requests to localhost. Two rules stop that: the Host
header must name this machine (against DNS rebinding), and a request that changes something must not come
from another origin. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def host_of(authority: str) -> str:
    """The name without its port, in lower case and without brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].rstrip(".").lower()


class HostRule:
    """Names this registry answers to in open mode."""

    def __init__(self, allowed_hosts: Sequence[str] = ()) -> None:
        self._exact = frozenset(host_of(name) for name in allowed_hosts if not name.startswith("*."))
        self._suffixes = tuple(name[1:].lower() for name in allowed_hosts if name.startswith("*."))
        self.allows = lru_cache(maxsize=1024)(self._allows)

    def _allows(self, authority: str) -> bool:
        name = host_of(authority)
        if name == "localhost" or name.endswith(".localhost") or name in self._exact:
            return True
        if self._suffixes and name.endswith(self._suffixes):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def is_foreign(*, method: str, own: Sequence[str], origin: str | None, fetch_site: str | None) -> bool:
    """Whether an unsafe request comes from another site's page. Programs send neither header.

    `own` are our origins, in lower case.
    """
    if method in SAFE_METHODS:
        return False
    if fetch_site is not None and fetch_site.strip().lower() in ("cross-site", "same-site"):
        # same-site: another port or subdomain, which is another registry's or program's page.
        return True
    return origin is not None and origin.strip().lower() not in own
