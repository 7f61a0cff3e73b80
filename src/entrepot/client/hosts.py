"""Where a repository is on the wire: hosts in the order they are tried, and how each is trusted. Pure.

A reference names a registry (`docker.io`); the wire wants a host (`registry-1.docker.io`), perhaps a mirror
before it, a scheme, certificates. Credentials belong to the host that is spoken to, so each endpoint carries
the name its account is filed under.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from entrepot.client.errors import RegistryBlocked, SettingsInvalid

HUB = "docker.io"
HUB_HOST = "registry-1.docker.io"

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])\.?(?::[0-9]{1,5})?")

# Token servers on another host than their registry that everyone uses. More only by `token-realms`.
KNOWN_REALMS: Mapping[str, tuple[str, ...]] = {
    HUB: ("auth.docker.io",),
    HUB_HOST: ("auth.docker.io",),
    "index.docker.io": ("auth.docker.io",),
    "registry.gitlab.com": ("gitlab.com",),
}


class Trust(msgspec.Struct, frozen=True):
    """What makes a TLS peer acceptable, and who we are to it."""

    verify: bool = True
    ca_files: tuple[Path, ...] = ()
    """PEM files accepted beside the system's."""
    client_certificate: Path | None = None
    client_key: Path | None = None


class RegistryHost(msgspec.Struct, frozen=True):
    """One host to speak to."""

    registry: str
    """Name the account is filed under: the registry's name, or the mirror's host."""
    host: str
    """`host[:port]` on the wire."""
    schemes: tuple[str, ...] = ("https",)
    """Tried in this order; the first that speaks HTTP is kept."""
    trust: Trust = msgspec.field(default_factory=Trust)
    token_realms: tuple[str, ...] = ()
    """Further `host[:port]` that may be asked for tokens with our password."""
    mirror: bool = False
    """A mirror's failure is not final: the next endpoint is asked."""


class Location(msgspec.Struct, frozen=True):
    """A repository at an endpoint; the name may differ from the reference's (mirrors with a prefix)."""

    endpoint: RegistryHost
    repository: str


class RegistrySettings(msgspec.Struct, frozen=True):
    """One `[registry."HOST"]` table of registries.toml."""

    mirrors: tuple[str, ...] = ()
    """`[http://]host[:port][/prefix]`, asked in order before the registry itself, for pulls only."""
    plain_http: bool = False
    """Speak plain HTTP and nothing else."""
    insecure: bool = False
    """Accept any certificate, and plain HTTP where HTTPS is not spoken."""
    ca: Path | None = None
    """PEM file with certificate authorities of this registry."""
    client_cert: Path | None = None
    client_key: Path | None = None
    token_realms: tuple[str, ...] = ()
    """Hosts beside the registry's own that may see the password to give out tokens."""
    blocked: bool = False
    """Refuse to speak to it."""


class MirrorRule(msgspec.Struct, frozen=True):
    """A mirror of containers' registries.conf."""

    location: str
    insecure: bool = False
    only: str = ""
    """`digest-only`, `tag-only` or empty for every pull."""


class PrefixRule(msgspec.Struct, frozen=True):
    """A `[[registry]]` table of containers' registries.conf."""

    prefix: str
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[MirrorRule, ...] = ()


class HostSettings(Protocol):
    """What `locate` needs of the client's settings."""

    @property
    def default_registry(self) -> str | None: ...
    @property
    def registries(self) -> Mapping[str, RegistrySettings]: ...
    @property
    def rules(self) -> Sequence[PrefixRule]: ...
    @property
    def insecure(self) -> bool: ...
    def certificates(self, host: str) -> Trust: ...


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine by name or literal address; nothing is resolved."""
    name = split_host(host)[0].rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def split_host(host: str) -> tuple[str, int | None]:
    """Name (no brackets) and port of `host`, `host:port`, `[::1]` or `[::1]:port`. Raises SettingsInvalid."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":")
    elif host.count(":") > 1:
        name, port = host, ""
    else:
        name, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise SettingsInvalid(f"{host!r} does not end in a port number (1 to 65535)")
    return name, int(port) if port else None


def check_host(host: str) -> str:
    """`host` when it is a host name or address with an optional port and nothing else.

    Raises SettingsInvalid.
    """
    if not _HOST.fullmatch(host):
        raise SettingsInvalid(f"{host[:200]!r} is not a registry's host[:port]")
    split_host(host)
    return host


def locate(
    registry: str, repository: str, settings: HostSettings, *, push: bool = False, by_digest: bool = False
) -> tuple[Location, ...]:
    """Endpoints for a repository, in the order they are tried; the last is the registry itself.

    Raises RegistryBlocked when settings forbid it.
    """
    own = settings.registries.get(registry, RegistrySettings())
    rule = _rule_for(f"{registry}/{repository}", settings.rules)
    if own.blocked or (rule is not None and rule.blocked):
        raise RegistryBlocked(
            f"registry {registry} is blocked by the settings of this machine",
            hint="see `blocked` in registries.toml or registries.conf",
        )
    found: list[Location] = []
    if not push:
        found.extend(_own_mirrors(own, repository, settings))
        if rule is not None:
            found.extend(_rule_mirrors(rule, registry, repository, settings, by_digest=by_digest))
    found.append(_origin(registry, repository, rule, settings))
    return tuple(found)


def endpoint_for(registry: str, settings: HostSettings) -> RegistryHost:
    """The endpoint of a registry as a whole (login, catalog, search)."""
    return locate(registry, "", settings, push=True)[-1].endpoint


def _own_mirrors(own: RegistrySettings, repository: str, settings: HostSettings) -> list[Location]:
    found = []
    for mirror in own.mirrors:
        plain = mirror.startswith("http://")
        host, prefix = _split_location(mirror)
        endpoint = _endpoint(host, host, settings, plain_http=plain, mirror=True)
        found.append(Location(endpoint, _join(prefix, repository)))
    return found


def _rule_mirrors(
    rule: PrefixRule, registry: str, repository: str, settings: HostSettings, *, by_digest: bool
) -> list[Location]:
    found = []
    rest = _rest(f"{registry}/{repository}", rule.prefix)
    for mirror in rule.mirrors:
        if mirror.only == ("tag-only" if by_digest else "digest-only"):
            continue
        host, prefix = _split_location(mirror.location)
        endpoint = _endpoint(host, host, settings, insecure=mirror.insecure, mirror=True)
        found.append(Location(endpoint, _join(prefix, rest)))
    return found


def _origin(registry: str, repository: str, rule: PrefixRule | None, settings: HostSettings) -> Location:
    if registry == HUB and settings.default_registry:
        plain = settings.default_registry.startswith("http://")
        host, prefix = _split_location(settings.default_registry)
        return Location(_endpoint(host, host, settings, plain_http=plain), _join(prefix, repository))
    if rule is not None and rule.location:
        host, prefix = _split_location(rule.location)
        rest = _rest(f"{registry}/{repository}", rule.prefix)
        return Location(_endpoint(host, host, settings, insecure=rule.insecure), _join(prefix, rest))
    insecure = rule is not None and rule.insecure
    return Location(_endpoint(registry, registry, settings, insecure=insecure), repository)


def _endpoint(
    registry: str,
    host: str,
    settings: HostSettings,
    *,
    plain_http: bool = False,
    insecure: bool = False,
    mirror: bool = False,
) -> RegistryHost:
    own = settings.registries.get(registry, RegistrySettings())
    check_host(host)
    insecure = insecure or own.insecure or settings.insecure
    # docker treats this machine as insecure: any certificate, and plain HTTP when HTTPS is not there.
    lenient = insecure or is_loopback(host)
    found = settings.certificates(host)
    trust = Trust(
        verify=not lenient,
        ca_files=(*((own.ca,) if own.ca else ()), *found.ca_files),
        client_certificate=own.client_cert or found.client_certificate,
        client_key=own.client_key or found.client_key,
    )
    if plain_http or own.plain_http:
        schemes: tuple[str, ...] = ("http",)
    else:
        schemes = ("https", "http") if lenient else ("https",)
    return RegistryHost(
        registry=registry,
        host=HUB_HOST if host == HUB else host,
        schemes=schemes,
        trust=trust,
        token_realms=(*KNOWN_REALMS.get(registry, ()), *own.token_realms),
        mirror=mirror,
    )


def _split_location(location: str) -> tuple[str, str]:
    """Host and path prefix of a mirror or rewritten location."""
    host, _, prefix = location.removeprefix("https://").removeprefix("http://").partition("/")
    return host, prefix.strip("/").removeprefix("v2/") if prefix.strip("/") != "v2" else ""


def _join(prefix: str, repository: str) -> str:
    return f"{prefix}/{repository}" if prefix and repository else prefix or repository


def _rest(name: str, prefix: str) -> str:
    """What of `name` follows the matched prefix. A wildcard matches a host only, so the path is kept."""
    if prefix.startswith("*."):
        return name.partition("/")[2]
    return name[len(prefix) :].strip("/")


def _rule_for(name: str, rules: Sequence[PrefixRule]) -> PrefixRule | None:
    """The rule with the longest matching prefix (containers-registries.conf(5))."""
    best: PrefixRule | None = None
    for rule in rules:
        if _matches(name.rstrip("/"), rule.prefix) and (best is None or len(rule.prefix) > len(best.prefix)):
            best = rule
    return best


def _matches(name: str, prefix: str) -> bool:
    if prefix.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(prefix[1:])
    return name == prefix or name.startswith(f"{prefix}/")
