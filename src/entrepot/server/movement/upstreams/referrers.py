"""Signatures, SBOMs and whatever else an upstream has about a manifest: listed with what is here.

They are fetched when somebody asks for them, as everything is.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from entrepot.errors import EntrepotError
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.server.movement.upstreams.directory import UpstreamDirectory
from entrepot.server.movement.upstreams.model import Upstream

__all__ = ["UpstreamReferrers"]

MOST: Final = 1_000
Ask = Callable[[Upstream, str, Digest], Awaitable[list[Descriptor]]]


class UpstreamReferrers:
    """One for each process. An answer is good for `fresh_s`; one that is waited for longer than `patience_s`
    is left out.
    """

    def __init__(self, directory: UpstreamDirectory, ask: Ask, *, fresh_s: float, patience_s: float) -> None:
        self._directory = directory
        self._ask = ask
        self._fresh_s = fresh_s
        self._patience_s = patience_s
        self._known: OrderedDict[tuple[str, Digest], tuple[float, tuple[Descriptor, ...]]] = OrderedDict()

    async def of(self, repository: str, subject: Digest) -> tuple[Descriptor, ...] | None:
        """What the upstream lists; what it last listed, or nothing, while it can't be used. None when the
        repository is no proxy's. Raises UpstreamRefused for one that an admin has ruled out.
        """
        upstream = await self._directory.of(repository)
        if upstream is None:
            return None
        upstream.require_fetched(repository)
        key, now = (repository, subject), asyncio.get_running_loop().time()
        at, known = self._known.get(key, (-self._fresh_s, ()))
        if now - at < self._fresh_s:
            return known
        try:
            async with asyncio.timeout(self._patience_s):
                known = tuple(await self._ask(upstream, repository, subject))
        except (TimeoutError, EntrepotError):
            return known
        self._known[key] = (now, known)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return known
