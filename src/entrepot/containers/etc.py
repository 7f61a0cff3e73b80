"""Files of /etc that are mounted over a container's own: hostname, hosts and resolv.conf."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from entrepot.containers.network import ADDRESS, PROGRAMS, RESOLVER
from entrepot.containers.records import Container, HostConfig

_HOSTS = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


def write_files(folder: Path, container: Container) -> None:
    """Make the folder with all three."""
    folder.mkdir(mode=0o700)
    (folder / "hostname").write_text(f"{container.process.hostname}\n")
    (folder / "hosts").write_text(_hosts(container))
    write_resolver(folder, container)
    for name in ("hostname", "hosts", "resolv.conf"):
        (folder / name).chmod(0o644)


def write_resolver(folder: Path, container: Container) -> None:
    """resolv.conf anew: the host may be in another network than at the last start."""
    text = ""
    with contextlib.suppress(OSError):
        text = Path("/etc/resolv.conf").read_text()
    (folder / "resolv.conf").write_text(resolver_lines(text, container.host))


def resolver_lines(text: str, host: HostConfig) -> str:
    """resolv.conf for a container, from the host's and `--dns`, `--dns-search` (`.` for none).

    A resolver on the host's loopback cannot be reached from a network of the container's own; its network
    program answers for it.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and line[0] not in "#;"]
    servers = list(host.dns) or [line.split()[1] for line in lines if _is(line, "nameserver")]
    if not host.dns and host.network != "host":
        servers = [server for server in servers if not _is_loopback(server)]
        if not servers and host.network in PROGRAMS:
            servers = [RESOLVER]
    search = [line for line in lines if _is(line, "search") or _is(line, "domain")]
    if host.dns_search:
        names = [name for name in host.dns_search if name != "."]
        search = [f"search {' '.join(names)}"] if names else []
    options = [line for line in lines if _is(line, "options")]
    return "".join(f"{line}\n" for line in [*(f"nameserver {one}" for one in servers), *search, *options])


def _is(line: str, word: str) -> bool:
    fields = line.split()
    return len(fields) > 1 and fields[0] == word


def _is_loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _hosts(container: Container) -> str:
    extra = _extra_hosts(container.host.extra_hosts)
    if container.host.network == "host":
        with contextlib.suppress(OSError):
            return Path("/etc/hosts").read_text() + extra
    own = f"{ADDRESS}\t{container.process.hostname}\n" if container.host.network in PROGRAMS else ""
    return _HOSTS + extra + own


def _extra_hosts(items: Sequence[str]) -> str:
    pairs = (item.partition(":") for item in items)
    return "".join(f"{address}\t{name}\n" for name, _, address in pairs)
