"""Where a docker daemon listens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from entrepot.errors import InvalidInput

DEFAULT_SOCKET: Final = "/var/run/docker.sock"


class InvalidDaemonAddress(InvalidInput):
    """DOCKER_HOST, or what was given for it, names no daemon that can be reached from here."""

    code = "invalid-daemon-address"


@dataclass(frozen=True, slots=True)
class DaemonAddress:
    """A socket's path, or a host and port that speak plain HTTP."""

    socket: str | None = None
    host: str = "localhost"
    port: int = 2375

    @classmethod
    def parse(cls, text: str) -> DaemonAddress:
        """`unix:///path`, a bare `/path`, or `tcp://host:port`. Raises InvalidDaemonAddress."""
        if text.startswith("/"):
            return cls(socket=text)
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise InvalidDaemonAddress(f"{text} is no address of a docker daemon") from error
        if parts.scheme == "unix" and parts.path:
            return cls(socket=parts.netloc + parts.path)
        if parts.scheme in ("tcp", "http") and parts.hostname:
            return cls(host=parts.hostname, port=port or 2375)
        raise InvalidDaemonAddress(
            f"{text} is no address of a docker daemon",
            hint="use unix:///path/to/docker.sock or tcp://host:port",
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> DaemonAddress:
        """DOCKER_HOST, else the usual socket. Raises InvalidDaemonAddress."""
        return cls.parse(environment.get("DOCKER_HOST") or DEFAULT_SOCKET)

    def __str__(self) -> str:
        return f"unix://{self.socket}" if self.socket else f"tcp://{self.host}:{self.port}"
