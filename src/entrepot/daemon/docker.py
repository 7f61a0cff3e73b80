"""Images of a docker daemon, out of it and into it.

Both ways they travel as an archive: the daemon packs what is asked for (`GET /images/get`) and unpacks
what it gets (`POST /images/load`). Config and layers keep their digests as far as the daemon kept them;
engines before 29 store layers unpacked and pack them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import quote, urlencode

from entrepot.archive.reading import Archive, open_archive
from entrepot.archive.sink import ArchiveSink
from entrepot.daemon.address import DaemonAddress
from entrepot.daemon.http import DaemonClient, read_progress
from entrepot.daemon.upload import written_chunks
from entrepot.layers.tar_writer import Writable
from entrepot.oci.reference import Reference


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

    def open_images(self, names: Sequence[str], *, tmp: Path | None = None) -> Archive:
        """Source over images, by name or ID; the caller closes it.

        They are copied to a nameless file in `tmp` first. Raises NotInDaemon, InvalidArchive.
        """
        for name in names:
            self.inspect(name)  # engines differ in how they say that one of several is missing
        path = "/images/get?" + urlencode([("names", name) for name in names])
        with self._client.open("GET", path) as response:
            return open_archive(cast("Any", response), tmp=tmp)

    def sink(
        self,
        reference: Reference | None = None,
        *,
        also: Sequence[Reference] = (),
        staging: Path | None = None,
    ) -> DaemonSink:
        """Sink into the daemon, under tags of `reference`'s repository. Use it with `with`."""
        return DaemonSink(self._client, reference, also, staging)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class DaemonSink(ArchiveSink):
    """Gathers content and hands it to the daemon when it is left without an error."""

    def __init__(
        self,
        client: DaemonClient,
        reference: Reference | None,
        also: Sequence[Reference],
        staging: Path | None,
    ) -> None:
        super().__init__(self._load, staging=staging, reference=reference, also=also)
        self._client = client
        self.loaded: list[str] = []
        """What the daemon says it has loaded, once finished."""

    def _load(self, write: Callable[[Writable], None]) -> None:
        chunks = written_chunks(write)
        headers = {"Content-Type": "application/x-tar"}
        with self._client.open("POST", "/images/load?quiet=1", body=chunks, headers=headers) as response:
            for event in read_progress(response):
                text = str(event.get("stream") or "").strip()
                if text:
                    self.loaded.append(text)
