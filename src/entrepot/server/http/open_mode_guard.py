"""What is refused before anything else: names open mode does not go by, other sites' pages, and documents
that were pushed. Pure.

A page a person visits can make their browser send requests to localhost. Two rules stop that in open mode:
the Host header must name this machine (against DNS rebinding), and a request that changes something must not
come from another origin.

What is pushed comes from the origin of the pages. It is sent so that browsers neither show nor run it; and
pages and management API do not listen to it, should one do so.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_MAX_AUTHORITY_LENGTH: Final = 255


@lru_cache(maxsize=256)
def is_authority(text: str) -> bool:
    """Whether it is a host, perhaps with a port, as a Host header has it.

    Without `server.public_url` addresses in answers are built from it, `WWW-Authenticate` among them.
    """
    return len(text) <= _MAX_AUTHORITY_LENGTH and _AUTHORITY.fullmatch(text) is not None


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


def is_registry_api(path: str) -> bool:
    """Whether a raw path is of the registry API, where content comes from strangers."""
    return path.startswith(("/v2/", "/v1/")) or path == "/v2"


def may_use_pages(
    *,
    host: str,
    origin: str | None,
    referer: str | None,
    fetch_site: str | None,
    fetch_mode: str | None,
    fetch_dest: str | None,
) -> bool:
    """Whether a request for a page or the management API may come from where it says; `host` is our own.

    Refused is what comes from no origin (a sandboxed document: what we send as such, run all the same), what
    another site's page loads other than by being left for ours, and what names a document of the registry
    API. Programs send none of these headers. A script on our own origin could leave the Referer out; that
    none gets there is for the headers of the content to see to.
    """
    if origin is not None and origin.strip().lower() == "null":
        return False
    site = None if fetch_site is None else fetch_site.strip().lower()
    if site in ("cross-site", "same-site") and (fetch_mode, fetch_dest) != ("navigate", "document"):
        return False
    return referer is None or not _names_stored_content(referer, host, site)


def _names_stored_content(referer: str, host: str, site: str | None) -> bool:
    try:
        parts = urlsplit(referer)
    except ValueError:
        return False
    # The browser knows best what our origin is; only old ones leave that to the Host header.
    ours = site == "same-origin" or (site is None and parts.netloc.lower() == host.lower())
    return ours and is_registry_api(parts.path)
