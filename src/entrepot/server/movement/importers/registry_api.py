"""Any registry, by the distribution API: its list of repositories, tags, manifests and referrers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from entrepot.client.registry import Registry
from entrepot.client.repository import Repository
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import BlobStream, ManifestBytes
from entrepot.errors import InvalidInput, NotFound
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import InvalidReference, parse_repository, parse_tag
from entrepot.server.backup.blob_copy import store_verified
from entrepot.server.movement.importers.origin import AbsentAtOrigin, Left, OriginContents
from entrepot.server.storage.store import BlobStore

__all__ = ["RegistryOrigin", "open_registry"]

_PIECE_BYTES: Final = 1 << 20
_AT_ONCE: Final = 8


class RegistryOrigin:
    """See Origin. `names`: these repositories, for a registry that does not list them.

    `ask_for_blobs`: each blob is asked for before it is believed to be there, as a plan and a comparison
    need; who copies it finds out anyway.
    """

    def __init__(self, registry: Registry, names: Sequence[str] = (), *, ask_for_blobs: bool = False) -> None:
        self._registry = registry
        self._names = names
        self._ask_for_blobs = ask_for_blobs
        self._opened: dict[str, Repository] = {}

    async def repositories(self) -> AsyncGenerator[str | Left, None]:
        names = self._names or await asyncio.to_thread(self._registry.catalog)
        for name in sorted(set(names)):
            try:
                yield parse_repository(name)
            except InvalidReference as error:
                yield Left(_shown(name), f"its name can't be a repository here: {error.message}")

    async def contents(self, repository: str) -> OriginContents:
        place, found = await self._open(repository), OriginContents()
        names = await asyncio.to_thread(lambda: list(place.list_tags()))
        for page in (names[at : at + _AT_ONCE] for at in range(0, len(names), _AT_ONCE)):
            answers = await asyncio.gather(*(asyncio.to_thread(_tag, place, name) for name in page))
            for name, answer in zip(page, answers, strict=True):
                if isinstance(answer, Digest):
                    found.tags[name] = answer
                else:
                    found.left.append(Left(f"{repository}:{_shown(name)}", answer))
        return found

    async def manifest(self, repository: str, digest: Digest) -> ManifestBytes:
        place = await self._open(repository)
        try:
            return await asyncio.to_thread(place.get_manifest, digest)
        except NotFound as error:
            raise AbsentAtOrigin(error.message) from error

    async def referrers(self, repository: str, digest: Digest) -> list[Digest]:
        place = await self._open(repository)
        return [one.digest for one in await asyncio.to_thread(place.list_referrers, digest)]

    async def require_blob(self, repository: str, blob: Descriptor) -> None:
        if self._ask_for_blobs:
            place = await self._open(repository)
            if not await asyncio.to_thread(place.has_blob, blob):
                raise AbsentAtOrigin(f"{blob.digest} is not there")

    async def take(self, store: BlobStore, repository: str, blob: Descriptor) -> tuple[str, str]:
        pieces = await self.read(repository, blob)
        return await store_verified(store, blob.digest, blob.size, pieces), "fetched"

    async def read(self, repository: str, blob: Descriptor) -> AsyncGenerator[bytes, None]:
        place = await self._open(repository)
        try:
            stream = await asyncio.to_thread(place.open_blob, blob)
        except NotFound as error:
            raise AbsentAtOrigin(error.message) from error
        return _pieces(stream)

    async def close(self) -> None:
        await asyncio.to_thread(self._registry.close)

    async def _open(self, repository: str) -> Repository:
        """Connections and tokens are shared by all repositories."""
        place = self._opened.get(repository)
        if place is None:
            place = await asyncio.to_thread(self._registry.repository, repository)
            place = self._opened.setdefault(repository, place)
        return place


def open_registry(url: str) -> Registry:
    """The registry at `https://host[:port]` or `host`, with the accounts and settings of who runs this.

    Raises InvalidInput, SettingsInvalid.
    """
    scheme, found, rest = url.partition("://")
    host = (rest if found else url).rstrip("/")
    if (found and scheme not in {"http", "https"}) or "/" in host or not host:
        raise InvalidInput(f"{url} is no registry's address", hint="write https://host[:port]")
    settings = ClientSettings.load(os.environ, insecure=scheme == "http")
    return Registry(host, settings=settings)


async def _pieces(stream: BlobStream) -> AsyncGenerator[bytes, None]:
    with stream:
        while piece := await asyncio.to_thread(stream.read, _PIECE_BYTES):
            yield piece


def _tag(place: Repository, name: str) -> Digest | str:
    """What it points to, or why that can't be told."""
    try:
        parse_tag(name)
        found = place.find_manifest(name)
    except InvalidReference as error:
        return f"its name can't be a tag here: {error.message}"
    except NotFound as error:
        return error.message
    return "it is in the list of tags, but not there" if found is None else found.digest


def _shown(name: str) -> str:
    return name.encode("unicode_escape").decode("ascii")
