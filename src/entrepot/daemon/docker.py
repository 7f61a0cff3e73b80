"""Images of a docker daemon, out of it and into it.

Both ways they travel as an archive (`archive` reads and writes those): the daemon packs what is asked for
(`GET /images/get`) and unpacks what it gets (`POST /images/load`). Config and layers keep their digests as
far as the daemon kept them; engines before 29 store layers unpacked and pack them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast
from urllib.parse import quote, urlencode

from urllib3.response import BaseHTTPResponse

from entrepot.daemon.address import DaemonAddress
from entrepot.daemon.http import DaemonClient, read_progress
from entrepot.daemon.upload import written_chunks
from entrepot.layers.chunks import Writable


class DockerDaemon:
    """A daemon at an address. Use it with `with`."""

    def __init__(self, address: DaemonAddress) -> None:
        self._client = DaemonClient(address)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> DockerDaemon:
        """The one DOCKER_HOST names, else the usual socket."""
        return cls(DaemonAddress.from_environment(environment))

    @property
    def address(self) -> DaemonAddress:
        return self._client.address

    def ping(self) -> str:
        """The version of its API. Raises DaemonUnreachable."""
        with self._client.open("GET", "/_ping") as response:
            return response.headers.get("Api-Version", "")

    def inspect(self, name: str) -> Mapping[str, Any]:
        """What `docker image inspect` shows of an image. Raises NotInDaemon."""
        found = self._client.get_json(f"/images/{quote(name, safe='/:@')}/json")
        return cast("Mapping[str, Any]", found)

    def list_images(self) -> Sequence[Mapping[str, Any]]:
        """What `docker images` lists."""
        return cast("Sequence[Mapping[str, Any]]", self._client.get_json("/images/json"))

    def save(self, names: Sequence[str]) -> BaseHTTPResponse:
        """An archive of images, by name or ID; the caller reads and closes it. Raises NotInDaemon."""
        for name in names:
            self.inspect(name)  # engines differ in how they say that one of several is missing
        return self._client.open("GET", "/images/get?" + urlencode([("names", name) for name in names]))

    def load(self, write: Callable[[Writable], None]) -> list[str]:
        """Hand over the archive `write` writes; what the daemon says it has loaded. Raises DaemonRefused."""
        headers = {"Content-Type": "application/x-tar"}
        body = written_chunks(write)
        with self._client.open("POST", "/images/load?quiet=1", body=body, headers=headers) as response:
            texts = [str(event.get("stream") or "").strip() for event in read_progress(response)]
        return [text for text in texts if text]

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
