"""Everything as OCI image layouts that any other tool reads: one a repository.

Tags become the layout's names; referrers (signatures, SBOMs) of what is exported come along. A later run adds
what is new, so a folder can be kept up to date. Bytes stay what they are, unless docker's manifests are asked
for as OCI ones: tools that read nothing else in a layout need that.
"""

from __future__ import annotations

import asyncio
import fnmatch
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from msgspec import structs

from entrepot.errors import EntrepotError
from entrepot.layout.directory import ImageLayout
from entrepot.layout.index import LayoutEntry, LayoutIndex
from entrepot.oci import annotations as keys
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.server.backup.contents import (
    RepositoryToWrite,
    blobs_of,
    body_of,
    manifests_after,
    next_repository,
    tags_of,
)
from entrepot.server.db.catalog import Catalog
from entrepot.server.storage.store import BlobStore

__all__ = ["Exported", "export"]


@dataclass(slots=True)
class Exported:
    """What a run did."""

    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    problems: list[str] = field(default_factory=list)
    """What could not be exported, and why."""


async def export(
    catalog: Catalog,
    store: BlobStore,
    folder: Path,
    *,
    pattern: str = "*",
    convert: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write the repositories whose names match `pattern` below `folder`.

    A new folder is its owner's alone, as private repositories are in it; one that is there stays as it is.
    `convert`: docker's manifests as OCI ones, under another digest.
    """
    await asyncio.to_thread(_make_folder, folder)
    report, after = Exported(), ""
    while (repository := await catalog.read(next_repository, after)) is not None:
        after = repository.name
        if not fnmatch.fnmatchcase(repository.name, pattern):
            continue
        say(repository.name)
        layout = await asyncio.to_thread(_make_layout, folder / repository.name)
        await _Export(catalog, store, repository, layout, report, convert=convert).run()
        report.repositories += 1
    return report


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


def _make_layout(path: Path) -> ImageLayout:
    path.mkdir(parents=True, exist_ok=True)
    return ImageLayout(path, create=True)


class _Export:
    """One repository."""

    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        repository: RepositoryToWrite,
        layout: ImageLayout,
        report: Exported,
        *,
        convert: bool,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._repository = repository
        self._layout = layout
        self._report = report
        self._convert = convert

    async def run(self) -> None:
        # Children come before what refers to them, and everything before what has it as a subject.
        after = (False, -1, 0)
        while page := await self._catalog.read(manifests_after, self._repository.id, after):
            last = page[-1]
            after = (last.has_subject, last.depth, last.id)
            listed = list[tuple[str | None, Descriptor]]()
            for row in page:
                try:
                    listed += await self._manifest(row)
                except EntrepotError as error:
                    self._report.problems.append(f"{self._repository.name}@{row.digest}: {error.message}")
            # All at once: the layout's list of names is rewritten as a whole.
            await asyncio.to_thread(self._layout.update_index, partial(_with_all, listed))

    async def _manifest(self, row: Any) -> list[tuple[str | None, Descriptor]]:
        """Store it, and what it needs; its names."""
        for one in await self._catalog.read(blobs_of, row.id):
            await self._blob(one)
        kept = await self._catalog.read(body_of, self._repository.id, row.digest, self._convert)
        if kept is None:
            return []  # deleted just now
        await asyncio.to_thread(self._layout.put_manifest, kept, None)
        names = await self._catalog.read(tags_of, self._repository.id, row.digest)
        self._report.manifests += 1
        self._report.tags += len(names)
        target = kept.descriptor()
        return [(name, target) for name in names] or [(None, target)] * (not row.has_parent)

    async def _blob(self, one: Any) -> None:
        digest = Digest.parse(one.digest)
        wanted = Descriptor(media_type="application/octet-stream", digest=digest, size=one.size)
        if await asyncio.to_thread(self._layout.has_blob, wanted):
            return
        with tempfile.TemporaryFile(dir=self._layout.root) as file:
            async with aclosing(await self._store.open(one.phys, 0, one.size)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)
            file.seek(0)
            await asyncio.to_thread(self._put, wanted, file)

    def _put(self, wanted: Descriptor, file: IO[bytes]) -> None:
        with open(file.fileno(), "rb", buffering=0, closefd=False) as stream:
            self._layout.put_blob(wanted, stream)


def _with_all(listed: list[tuple[str | None, Descriptor]], index: LayoutIndex) -> LayoutIndex:
    """These names point to these manifests; ones without a name are listed once."""
    names = {name for name, _ in listed if name is not None}
    digests = {target.digest for _, target in listed}
    kept = [
        entry
        for entry in index
        if entry.ref_name not in names and not (entry.ref_name is None and entry.descriptor.digest in digests)
    ]
    added = [
        LayoutEntry(
            target
            if name is None
            else structs.replace(target, annotations={**target.annotations, keys.REF_NAME: name})
        )
        for name, target in listed
    ]
    return structs.replace(index, entries=(*kept, *added))
