"""Moving out: everything as a tree that Docker Registry serves as it is (see `importers.distribution_tree`).

What refers to a manifest (signatures, SBOMs) is found there by the tag `sha256-<hex>`, since that registry
has no list of referrers (distribution-spec: Referrers Tag Schema). A later run adds what is new, and moves
tags; nothing is removed.
"""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from entrepot.content.protocols import ManifestBytes
from entrepot.errors import EntrepotError
from entrepot.oci import distribution, mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index
from entrepot.server.backup.blob_copy import read_verified
from entrepot.server.backup.contents import (
    RepositoryToWrite,
    blobs_of,
    body_of,
    manifests_after,
    next_repository,
    tags_of,
)
from entrepot.server.backup.places import BackupPlace
from entrepot.server.db.catalog import Catalog
from entrepot.server.repos.referrers import Referrers
from entrepot.server.storage.store import BlobStore

__all__ = ["TreeWritten", "write_tree"]

_V2: Final = "docker/registry/v2"


@dataclass(slots=True)
class TreeWritten:
    """What a run did."""

    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    problems: list[str] = field(default_factory=list)
    """What could not be written, and why."""


async def write_tree(
    catalog: Catalog,
    store: BlobStore,
    place: BackupPlace,
    *,
    pattern: str = "*",
    say: Callable[[str], None] = lambda _: None,
) -> TreeWritten:
    """Write the repositories whose names match `pattern` to an opened folder or bucket.

    Blobs are verified as they are read and durable before anything links them. Raises PlaceFailed.
    """
    there = {name: size async for name, size in place.listed(f"{_V2}/blobs")}
    report, after = TreeWritten(), ""
    while (repository := await catalog.read(next_repository, after)) is not None:
        after = repository.name
        if fnmatch.fnmatchcase(repository.name, pattern):
            say(repository.name)
            await _Repository(catalog, store, place, repository, there, report).run()
            report.repositories += 1
    return report


class _Repository:
    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        place: BackupPlace,
        repository: RepositoryToWrite,
        there: dict[str, int],
        report: TreeWritten,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._place = place
        self._repository = repository
        self._there = there
        self._report = report
        self._subjects = set[Digest]()
        self._lists = set[str]()
        """Tags that may be lists of referrers."""

    async def run(self) -> None:
        after = (False, -1, 0)
        while page := await self._catalog.read(manifests_after, self._repository.id, after):
            last = page[-1]
            after = (last.has_subject, last.depth, last.id)
            for row in page:
                try:
                    await self._manifest(row)
                except EntrepotError as error:
                    self._report.problems.append(f"{self._repository.name}@{row.digest}: {error.message}")
        for subject in sorted(self._subjects):
            await self._referrers(subject)

    async def _manifest(self, row: Any) -> None:
        for one in await self._catalog.read(blobs_of, row.id):
            digest = Digest.parse(one.digest)
            if self._there.get(_data(digest)) != one.size:
                pieces = read_verified(self._store, digest, one.phys, one.size)
                await self._put(_data(digest), pieces, one.size)
            await self._link(f"_layers/{digest.algorithm}/{digest.hex}", digest)
        kept = await self._catalog.read(body_of, self._repository.id, row.digest, False)
        if kept is None:
            return  # deleted just now
        if row.has_subject and (subject := kept.parse().subject) is not None:
            self._subjects.add(subject.digest)
        await self._revision(kept)
        names = await self._catalog.read(tags_of, self._repository.id, row.digest)
        self._lists.update(name for name in names if name.startswith("sha"))
        for name in names:
            await self._tag(name, kept.digest)
        self._report.manifests += 1
        self._report.tags += len(names)

    async def _referrers(self, subject: Digest) -> None:
        if (tag := distribution.fallback_tag(subject)) in self._lists:
            return  # a client keeps the list itself
        listed, last = list[Descriptor](), ""
        while True:
            page = await Referrers(self._catalog).list(self._repository.name, subject, last=last)
            listed += page.descriptors
            if not page.more:
                break
            last = str(listed[-1].digest)
        index = build_index(listed, media_type=mediatype.OCI_INDEX)
        await self._revision(ManifestBytes.from_manifest(index))
        await self._tag(tag, index.digest())

    async def _revision(self, kept: ManifestBytes) -> None:
        digest = kept.digest
        if self._there.get(_data(digest)) != len(kept.raw):
            await self._put(_data(digest), _once(kept.raw), len(kept.raw))
        await self._link(f"_manifests/revisions/{digest.algorithm}/{digest.hex}", digest)

    async def _tag(self, name: str, digest: Digest) -> None:
        await self._link(f"_manifests/tags/{name}/index/{digest.algorithm}/{digest.hex}", digest)
        await self._link(f"_manifests/tags/{name}/current", digest)

    async def _link(self, folder: str, digest: Digest) -> None:
        text = str(digest).encode()
        await self._place.put(
            f"{_V2}/repositories/{self._repository.name}/{folder}/link", _once(text), len(text)
        )

    async def _put(self, name: str, pieces: AsyncIterator[bytes], size: int) -> None:
        await self._place.put(name, pieces, size)
        self._there[name] = size


def _data(digest: Digest) -> str:
    return f"{_V2}/blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
