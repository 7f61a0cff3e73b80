"""Platforms of images in a list, read from their configurations and remembered: content never changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.foreign import apart, read_object, short_text
from entrepot.server.control.queries.content import TagRow, get_repository, platforms_of
from entrepot.server.control.queries.lists import stored_configs
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, look
from entrepot.server.repos.blobs import StoredBlob
from entrepot.server.storage.errors import BlobMissing

__all__ = ["Platforms"]

_MAX_BYTES: Final = 512 * 1024
_MAX_KNOWN: Final = 20_000
_AT_ONCE: Final = 8


class Platforms:
    """One per process."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()

    async def of_tags(
        self, services: Services, actor: Actor, repository: str, tags: Sequence[TagRow]
    ) -> dict[str, list[str]]:
        """Platforms by tag; none for what is no image. Raises NotFound."""
        configs, platforms = await apart(_read, tags)
        unknown = {digest for digest in configs.values() if digest and digest not in self._known}
        await self._learn(services, actor, repository, unknown)
        found = {}
        for row in tags:
            config = configs[row.name]
            known = self._known.get(config, "") if config else ""
            found[row.name] = [known] if known else platforms[row.name]
        return found

    async def _learn(self, services: Services, actor: Actor, repository: str, digests: set[str]) -> None:
        if not digests:
            return

        def see(t: Transaction) -> dict[str, tuple[str, int]]:
            t.require(Action.READ, repository=repository)
            repo_id = get_repository(t.connection, repository).id
            return stored_configs(t.connection, repo_id, sorted(digests))

        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(digest: str, phys: str, size: int) -> None:
            async with gate:
                self._remember(
                    digest, await _platform(services, StoredBlob(Digest.parse(digest), size, phys))
                )

        stored = await look(services, actor, see)
        await asyncio.gather(*(one(digest, *where) for digest, where in stored.items()))

    def _remember(self, digest: str, platform: str) -> None:
        self._known[digest] = platform
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)


def _read(tags: Sequence[TagRow]) -> tuple[dict[str, str | None], dict[str, list[str]]]:
    """Digests of configurations, and platforms that the manifests themselves tell; by tag."""
    configs, platforms = {}, {}
    for row in tags:
        configs[row.name] = _config_digest(row.body)
        listed = [text for _digest, text, _size, _kind in platforms_of(row.body) if text]
        platforms[row.name] = list(dict.fromkeys(listed))
    return configs, platforms


def _config_digest(body: bytes) -> str | None:
    config = read_object(body).get("config")
    digest = config.get("digest") if isinstance(config, dict) else None
    return digest if isinstance(digest, str) else None


async def _platform(services: Services, stored: StoredBlob) -> str:
    """Empty when it says none, or is too large to be an image's."""
    if stored.size > _MAX_BYTES:
        return ""
    try:
        content = b"".join([bytes(chunk) async for chunk in await services.blobs.open(stored)])
    except BlobMissing:
        return ""
    document = await apart(read_object, content)
    parts = [document.get("os"), document.get("architecture"), document.get("variant")]
    return "/".join(short_text(part) for part in parts if part) if document.get("os") else ""
