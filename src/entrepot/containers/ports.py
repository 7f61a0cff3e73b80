"""Ports of a container that the host answers on: how `-p` is read, and how docker shows them. Pure."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence

from entrepot.containers.errors import InvalidOption
from entrepot.containers.records import PortBinding

_PROTOCOLS = ("tcp", "udp")
_ANY = "0.0.0.0"  # noqa: S104 - what docker prints for all addresses


def parse_publish(text: str) -> list[PortBinding]:
    """`-p [[IP:][HOST]:]CONTAINER[/tcp|udp]`, each port a number or a range. Raises InvalidOption."""
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidOption(f"Invalid proto: {protocol}")
    head, _, inside = rest.rpartition(":")
    ip, outside = "", head
    if head.startswith("["):
        ip, _, outside = head[1:].partition("]")
        outside = outside.removeprefix(":")
    elif ":" in head:
        ip, _, outside = head.rpartition(":")
    if not inside:
        raise InvalidOption(f"No port specified: {text}<empty>")
    if ip:
        try:
            ip = str(ipaddress.ip_address(ip))
        except ValueError as error:
            raise InvalidOption(f"Invalid ip address: {ip}") from error
    targets = _range(inside, "containerPort")
    if not outside:
        return [PortBinding(port, protocol, ip, 0) for port in targets]
    sources = _range(outside, "hostPort")
    if len(targets) == 1 and len(sources) > 1:
        raise InvalidOption(
            f"a range of host ports for one container port is not supported: {text}",
            hint="name one host port, or leave it out to have a free one chosen",
        )
    if len(sources) != len(targets):
        raise InvalidOption(f"Invalid ranges specified for container and host Ports: {inside} and {outside}")
    return [
        PortBinding(target, protocol, ip, source) for target, source in zip(targets, sources, strict=True)
    ]


def parse_expose(text: str) -> list[str]:
    """`--expose 80`, `80/udp`, `3000-3002`: names of ports as `80/tcp`. Raises InvalidOption."""
    ports, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in (*_PROTOCOLS, "sctp"):
        raise InvalidOption(f"invalid proto: {protocol}")
    return [f"{port}/{protocol}" for port in _range(ports, "range format for --expose")]


def _range(text: str, what: str) -> list[int]:
    first, dash, last = text.partition("-")
    with contextlib.suppress(ValueError):
        low = int(first)
        high = int(last) if dash else low
        if first.isascii() and 1 <= low <= high <= 65_535:
            return list(range(low, high + 1))
    raise InvalidOption(f"Invalid {what}: {text}")


def published(
    bindings: Sequence[PortBinding], exposed: Sequence[str]
) -> dict[str, list[dict[str, str]] | None]:
    """docker's `NetworkSettings.Ports`: where each port is answered, None for one that is only noted."""
    shown: dict[str, list[dict[str, str]] | None] = dict.fromkeys(exposed)
    for binding in bindings:
        place = {"HostIp": binding.host_ip or _ANY, "HostPort": str(binding.host_port)}
        shown[binding.name] = [*(shown.get(binding.name) or []), place]
    return shown


def wanted(bindings: Sequence[PortBinding]) -> dict[str, list[dict[str, str]]]:
    """docker's `HostConfig.PortBindings`: as asked for, a port that is chosen at the start left empty."""
    shown: dict[str, list[dict[str, str]]] = {}
    for binding in bindings:
        port = str(binding.host_port) if binding.host_port else ""
        shown.setdefault(binding.name, []).append({"HostIp": binding.host_ip, "HostPort": port})
    return shown


def listed(bindings: Sequence[PortBinding], exposed: Sequence[str]) -> str:
    """docker's PORTS column: `0.0.0.0:8080->80/tcp, 443/tcp`."""
    words = [f"{_host(binding.host_ip)}:{binding.host_port}->{binding.name}" for binding in bindings]
    answered = {binding.name for binding in bindings}
    return ", ".join([*words, *(name for name in exposed if name not in answered)])


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip or _ANY
