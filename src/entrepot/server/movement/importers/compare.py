"""Looks at both sides after a move: every tag, every manifest, and the bytes of every blob, read there and
here.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from entrepot.errors import EntrepotError
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.manifest import parse_manifest
from entrepot.server.backup.blob_copy import at_once
from entrepot.server.db.catalog import Catalog
from entrepot.server.movement.importers.here import known_repository
from entrepot.server.movement.importers.origin import AbsentAtOrigin, ImportOrigin, Left
from entrepot.server.repos.blobs import Blobs
from entrepot.server.repos.manifests import Manifests
from entrepot.server.storage.store import BlobStore

__all__ = ["Compared", "compare"]


@dataclass(slots=True)
class Compared:
    """How many there are on the other side, how many of them are here, and what is not the same."""

    repositories: int = 0
    tags: tuple[int, int] = (0, 0)
    manifests: tuple[int, int] = (0, 0)
    blobs: tuple[int, int] = (0, 0)
    bytes: int = 0
    """Read there and here, of each blob once."""
    differences: list[Left] = field(default_factory=list)


async def compare(
    catalog: Catalog,
    store: BlobStore,
    origin: ImportOrigin,
    projects: Sequence[str] = (),
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Compared:
    """Changes nothing. What can't be read on one side is a difference."""
    report, seen = Compared(), set[Digest]()
    manifests, blobs = Manifests(catalog), Blobs(catalog, store)
    async for found in origin.repositories():
        if isinstance(found, Left):
            report.differences.append(found)
        elif not projects or any(fnmatch.fnmatchcase(found.partition("/")[0], one) for one in projects):
            say(found)
            report.repositories += 1
            try:
                await _Pair(catalog, manifests, blobs, origin, found, report, seen).run()
            except EntrepotError as error:
                report.differences.append(Left(found, error.message))
    report.differences.sort()
    return report


class _Pair:
    """One repository, there and here."""

    def __init__(
        self,
        catalog: Catalog,
        manifests: Manifests,
        blobs: Blobs,
        origin: ImportOrigin,
        name: str,
        report: Compared,
        seen: set[Digest],
    ) -> None:
        self._catalog = catalog
        self._manifests = manifests
        self._blobs = blobs
        self._origin = origin
        self._name = name
        self._report = report
        self._seen = seen
        self._done = set[Digest]()

    async def run(self) -> None:
        contents = await self._origin.contents(self._name)
        known = await self._catalog.read(known_repository, self._name)
        self._report.differences += contents.left
        for tag, digest in contents.tags.items():
            here = known.tags.get(tag)
            same = here is not None and here.digest == str(digest)
            self._report.tags = _one_more(self._report.tags, same)
            if not same:
                told = f"here {here.digest}" if here else "not here"
                self._differs(f"{self._name}:{tag}", f"there {digest}, {told}")
        await at_once(sorted({*contents.manifests, *contents.tags.values()}), self._manifest)

    async def _manifest(self, digest: Digest) -> None:
        if digest in self._done:
            return
        self._done.add(digest)
        what = f"{self._name}@{digest}"
        here = await self._manifests.get(self._name, digest)
        try:
            there = await self._origin.manifest(self._name, digest)
        except EntrepotError as error:
            self._report.manifests = _one_more(self._report.manifests, False)
            self._differs(what, f"there: {error.message}")
            return
        same = here is not None and here.raw == there.raw and Digest.of(here.raw, digest.algorithm) == digest
        self._report.manifests = _one_more(self._report.manifests, same)
        if here is None or not same:
            self._differs(what, "not here" if here is None else "its bytes are not the same")
            return
        blobs, children = parse_manifest(here.raw, here.media_type).references()
        for blob in blobs:
            await self._blob(blob)
        for child in children:
            await self._manifest(child.digest)
        for referrer in await self._origin.referrers(self._name, digest):
            await self._manifest(referrer)

    async def _blob(self, blob: Descriptor) -> None:
        what = f"{self._name}@{blob.digest}"
        found = await self._blobs.find(self._name, blob.digest)
        if found is None:
            if await self._is_there(blob):
                self._report.blobs = _one_more(self._report.blobs, False)
                self._differs(what, "the blob is not here")
            return
        if blob.digest in self._seen:
            return
        self._seen.add(blob.digest)
        self._report.bytes += blob.size
        try:
            there = await _digest_of(await self._origin.read(self._name, blob), blob.digest.algorithm)
            here = await _digest_of(await self._blobs.open(found), blob.digest.algorithm)
        except EntrepotError as error:
            self._report.blobs = _one_more(self._report.blobs, False)
            self._differs(what, error.message)
            return
        same = there == here == blob.digest
        self._report.blobs = _one_more(self._report.blobs, same)
        if not same:
            self._differs(what, f"the bytes there are {there}, here {here}")

    async def _is_there(self, blob: Descriptor) -> bool:
        try:
            await self._origin.require_blob(self._name, blob)
        except AbsentAtOrigin:
            return False
        return True

    def _differs(self, what: str, why: str) -> None:
        self._report.differences.append(Left(what, why))


async def _digest_of(pieces: AsyncGenerator[bytes, None], algorithm: str) -> Digest:
    hasher = Hasher(algorithm)
    async with aclosing(pieces) as stream:
        async for piece in stream:
            await asyncio.to_thread(hasher.update, piece)
    return hasher.digest()


def _one_more(counts: tuple[int, int], same: bool) -> tuple[int, int]:
    return counts[0] + 1, counts[1] + same
