"""Everything as OCI image layouts that any other tool reads: one a repository.

Tags become the layout's names; referrers (signatures, SBOMs) of what is exported come along. A later run adds
what is new, so a folder can be kept up to date.
"""

from __future__ import annotations

import asyncio
import fnmatch
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, select

from entrepot.content.protocols import ManifestBytes
from entrepot.errors import EntrepotError
from entrepot.layout.directory import ImageLayout
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.server.db.engine import Catalog
from entrepot.server.db.tables import blob, manifest, manifest_blob, repo, tag
from entrepot.server.storage.base import BlobStore

__all__ = ["Exported", "export"]


@dataclass(slots=True)
class Exported:
    """What a run did."""

    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    problems: list[str] = field(default_factory=list)
    """What could not be exported, and why."""


@dataclass(frozen=True, slots=True)
class _Repository:
    id: int
    name: str


async def export(
    catalog: Catalog,
    store: BlobStore,
    folder: Path,
    *,
    pattern: str = "*",
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write the repositories whose names match `pattern` below `folder`."""
    report = Exported()
    for repository in await catalog.read(_repositories):
        if not fnmatch.fnmatchcase(repository.name, pattern):
            continue
        say(repository.name)
        layout = await asyncio.to_thread(_make_layout, folder / repository.name)
        await _Export(catalog, store, repository, layout, report).run()
        report.repositories += 1
    return report


def _make_layout(path: Path) -> ImageLayout:
    path.mkdir(parents=True, exist_ok=True)
    return ImageLayout(path, create=True)


class _Export:
    """One repository."""

    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        repository: _Repository,
        layout: ImageLayout,
        report: Exported,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._repository = repository
        self._layout = layout
        self._report = report

    async def run(self) -> None:
        names = await self._catalog.read(_tags, self._repository.id)
        # Children come before what refers to them, and everything before what has it as a subject.
        for number in await self._catalog.read(_manifests_by_depth, self._repository.id):
            row = await self._catalog.read(_manifest, number)
            if row is None:
                continue
            try:
                for one in await self._catalog.read(_blobs_of, number):
                    await self._blob(one)
                kept = ManifestBytes(row.body, row.media_type, Digest.parse(row.digest))
                for name in names.get(row.digest) or [None]:
                    await asyncio.to_thread(self._layout.put_manifest, kept, name)
                    self._report.tags += name is not None
                self._report.manifests += 1
            except EntrepotError as error:
                self._report.problems.append(f"{self._repository.name}@{row.digest}: {error.message}")

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


def _repositories(connection: Connection) -> list[_Repository]:
    rows = connection.execute(
        select(repo.c.id, repo.c.name).where(repo.c.deleted_at.is_(None)).order_by(repo.c.name)
    )
    return [_Repository(row.id, row.name) for row in rows]


def _tags(connection: Connection, repo_id: int) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    rows = connection.execute(
        select(tag.c.digest, tag.c.name).where(tag.c.repo_id == repo_id).order_by(tag.c.name)
    )
    for row in rows:
        found.setdefault(row.digest, []).append(row.name)
    return found


def _manifests_by_depth(connection: Connection, repo_id: int) -> list[int]:
    rows = connection.execute(
        select(manifest.c.id)
        .where(manifest.c.repo_id == repo_id, manifest.c.deleted_at.is_(None))
        .order_by(manifest.c.subject.is_not(None), manifest.c.depth, manifest.c.id)
    )
    return list(rows.scalars())


def _manifest(connection: Connection, number: int) -> Any:
    return connection.execute(
        select(manifest.c.body, manifest.c.media_type, manifest.c.digest).where(manifest.c.id == number)
    ).one_or_none()


def _blobs_of(connection: Connection, number: int) -> list[Any]:
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size)
        .join(manifest_blob, manifest_blob.c.digest == blob.c.digest)
        .where(manifest_blob.c.manifest_id == number, blob.c.state == "live")
    )
    return list(rows)
