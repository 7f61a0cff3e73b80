"""What an upstream is, and how names here become names there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from entrepot.client.hosts import HUB, HUB_HOST, KNOWN_REALMS, RegistryHost, check_host
from entrepot.errors import InvalidInput
from entrepot.server.access.decision.patterns import RepositoryPattern
from entrepot.server.movement.upstreams.errors import UpstreamRefused

__all__ = ["Upstream", "UpstreamAddress", "parse_address"]

_HUB_NAMES: Final = frozenset({HUB, HUB_HOST, "index.docker.io", "hub.docker.com"})


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where an upstream is."""

    scheme: str
    host: str
    """`host[:port]`."""
    prefix: str
    """What stands before each repository there, without slashes around it; mostly empty."""

    @property
    def registry(self) -> str:
        """As references name it, and as containerd says it in `?ns=`."""
        return self.host

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}" + (f"/{self.prefix}" if self.prefix else "")


def parse_address(text: str) -> UpstreamAddress:
    """`docker.io`, `https://ghcr.io`, `http://127.0.0.1:5000/team`. Raises InvalidInput."""
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        bad = parts.scheme not in {"http", "https"} or parts.query or parts.fragment or "@" in parts.netloc
        host = check_host(parts.netloc.lower())
    except (ValueError, InvalidInput) as error:
        raise _no_address(text) from error
    if bad:
        raise _no_address(text)
    prefix = parts.path.strip("/")
    prefix = "" if prefix == "v2" else prefix.removeprefix("v2/")
    return UpstreamAddress(parts.scheme, HUB if host in _HUB_NAMES else host, prefix)


def _no_address(text: str) -> InvalidInput:
    shown = text.rpartition("@")[2][:200]
    return InvalidInput(
        f"{shown!r} is no address of a registry",
        hint="write it as docker.io, https://ghcr.io or http://registry.example:5000, without an account",
    )


@dataclass(frozen=True, slots=True)
class Upstream:
    """One row, with the project that it fills."""

    project_id: int
    project: str
    address: UpstreamAddress
    username: str | None
    sealed: bytes | None
    inside: bool
    """Whether it, and where it redirects to, may have an address of a private network or this machine."""
    whole: bool
    """Whether names of no project here are asked of it: docker's `registry-mirrors`."""
    allow: tuple[RepositoryPattern, ...] = ()
    """Its repositories that are fetched; empty: all."""
    deny: tuple[RepositoryPattern, ...] = ()

    @property
    def registry(self) -> str:
        return self.address.registry

    @property
    def endpoint(self) -> RegistryHost:
        """For the client."""
        host = self.address.host
        return RegistryHost(
            registry=host,
            host=HUB_HOST if host == HUB else host,
            schemes=(self.address.scheme,),
            token_realms=KNOWN_REALMS.get(host, ()),
        )

    def name_there(self, repository: str) -> str:
        """The upstream's name for one of ours: `hub/nginx` is `library/nginx` at Docker Hub."""
        rest = repository.partition("/")[2]
        if self.address.host == HUB and "/" not in rest:
            rest = f"library/{rest}"
        return f"{self.address.prefix}/{rest}" if self.address.prefix else rest

    def has_names_for(self, repository: str) -> bool:
        """Whether there is anything behind the project's name to ask for."""
        return "/" in repository

    def require_fetched(self, repository: str) -> None:
        """Raises UpstreamRefused for what an admin does not want from there."""
        there = self.name_there(repository)
        if any(pattern.matches(there) for pattern in self.deny) or (
            self.allow and not any(pattern.matches(there) for pattern in self.allow)
        ):
            raise UpstreamRefused(
                f"{there} of {self.registry} is not served through {self.project}: an admin has ruled it out",
                hint="ask for it to be allowed: entrepot admin upstream set --allow",
            )
