"""A registry without HTTP for the tests of jobs: catalog, store, services, and a clock that tests move."""

import errno
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Select, func, select

from entrepot.oci.digest import Digest
from entrepot.server.db import open_catalog, upgrade
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import ManualClock
from entrepot.server.db.settings import set_identity
from entrepot.server.db.tables import blob, manifest, trash
from entrepot.server.repos.blobs import Blobs
from entrepot.server.repos.limits import RepositoryLimits
from entrepot.server.repos.manifests import Manifests
from entrepot.server.repos.uploads import RepositoryUploads
from entrepot.server.storage.filesystem import filesystem_store
from entrepot.server.storage.filesystem.ops import FileOps, FolderEntry
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.collection.collect import GcSettings, collect
from entrepot.server.upkeep.collection.report import GcReport, Removal
from entrepot.server.upkeep.collection.trash import sweep
from entrepot.server.upkeep.integrity.fsck import FsckReport, FsckSettings, fsck
from tests.support.actors import user

on_both = pytest.mark.parametrize("world", ["sqlite", "postgresql"], indirect=True)
"""For tests whose statements or locks differ between the databases."""
HOUR = 3600
DAY = 24 * HOUR
REPO = "team/app"
ACTOR = user("tester")
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


class Disk(FileOps):
    """The real one, but for what a test breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.bad_sectors: dict[Path, int] = {}
        """The first byte of a file that can't be read."""
        self.bad_inodes: set[Path] = set()
        self.bad_folders: set[Path] = set()
        """What they hold can't be listed."""
        self.gone = False
        """No blob is read and nothing written durably; small files like the mark are in memory still."""
        self._paths: dict[int, Path] = {}

    def open_read(self, path: Path) -> int:
        fd = super().open_read(path)
        self._paths[fd] = path
        return fd

    def is_cached(self, fd: int, offset: int, size: int) -> bool:
        return not self._fails(fd, offset + size) and super().is_cached(fd, offset, size)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        if self._fails(fd, offset + size):
            raise _failure(errno.EIO)
        return super().read(fd, size, offset)

    def size(self, path: Path) -> int | None:
        if path in self.bad_inodes:
            raise _failure(errno.EUCLEAN)
        return super().size(path)

    def entries(self, path: Path) -> Iterator[FolderEntry]:
        if path in self.bad_folders:
            raise _failure(errno.EIO)
        return super().entries(path)

    def fsync(self, fd: int) -> None:
        if self.gone:
            raise _failure(errno.EIO)
        super().fsync(fd)

    def _fails(self, fd: int, end: int) -> bool:
        path = self._paths[fd]
        return (self.gone and "blobs" in path.parts) or end > self.bad_sectors.get(path, end)


def _failure(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@dataclass
class World:
    """Everything a test touches. Leases run a day, the undo window a week, the trash an hour."""

    catalog: Catalog
    store: BlobStore
    root: Path
    disk: Disk
    clock: ManualClock
    uploads: RepositoryUploads
    blobs: Blobs
    manifests: Manifests

    async def push_blob(self, data: bytes, repository: str = REPO) -> Digest:
        upload = await self.uploads.start(repository, actor=ACTOR)
        digest = Digest.of(data)
        await self.uploads.finish(repository, upload.id, digest, pieces(data), actor=ACTOR)
        return digest

    async def push_image(
        self,
        *layers: bytes,
        tag: str | None = "latest",
        repository: str = REPO,
        subject: Digest | None = None,
    ) -> Digest:
        """An image of these layers, its blobs pushed first."""
        for data in (b"{}", *layers):
            await self.push_blob(data, repository)
        return await self.push_manifest(
            image_manifest(layers, subject=subject), tag=tag, repository=repository
        )

    async def push_manifest(
        self,
        raw: bytes,
        *,
        tag: str | None = "latest",
        repository: str = REPO,
        media_type: str = OCI_MANIFEST,
    ) -> Digest:
        digest = Digest.of(raw)
        await self.manifests.put(
            repository, raw=raw, media_type=media_type, tag=tag, digest=None if tag else digest, actor=ACTOR
        )
        return digest

    async def push_index(
        self, *children: Digest, tag: str | None = "latest", repository: str = REPO
    ) -> Digest:
        entries = []
        for child in children:
            found = await self.manifests.get(repository, child)
            assert found is not None
            entries.append({"mediaType": found.media_type, "digest": str(child), "size": len(found.raw)})
        raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
        return await self.push_manifest(raw, tag=tag, repository=repository, media_type=OCI_INDEX)

    async def collect(
        self, *, dry_run: bool = False, untagged: bool = False
    ) -> tuple[GcReport, list[Removal]]:
        told: list[Removal] = []
        settings = GcSettings(untagged=untagged)
        return await collect(self.catalog, settings, dry_run=dry_run, on_removal=told.append), told

    async def collect_and_sweep(self, *, untagged: bool = False) -> GcReport:
        report, _ = await self.collect(untagged=untagged)
        self.clock.advance(HOUR + 1)
        await sweep(self.catalog, self.store, by="test")
        return report

    async def fsck(self, *, deep: bool = True, repair: bool = False) -> FsckReport:
        return await fsck(self.catalog, self.store, FsckSettings(deep=deep, repair=repair))

    async def scalar(self, statement: Select[tuple[int]]) -> int:
        def read(connection: Connection) -> int:
            return int(connection.execute(statement).scalar_one())

        return await self.catalog.read(read)

    async def count_blobs(self) -> int:
        return await self.scalar(select(func.count()).select_from(blob))

    async def count_manifests(self) -> int:
        return await self.scalar(select(func.count()).select_from(manifest))

    async def count_trash(self) -> int:
        return await self.scalar(select(func.count()).select_from(trash))

    async def phys(self, digest: Digest) -> str:
        def read(connection: Connection) -> str:
            return str(
                connection.execute(select(blob.c.phys).where(blob.c.digest == str(digest))).scalar_one()
            )

        return await self.catalog.read(read)

    async def readable(self, digest: Digest, repository: str = REPO) -> bool:
        """Whether a pull of this blob gets the right bytes."""
        found = await self.blobs.find(repository, digest)
        if found is None:
            return False
        data = b"".join([piece async for piece in await self.store.open(found.phys)])
        return Digest.of(data) == digest

    def files(self) -> list[str]:
        """Every file of blobs and uploads on disk."""
        folders = [self.root / "blobs", self.root / "uploads"]
        return sorted(path.name for folder in folders for path in folder.rglob("*") if path.is_file())


class StillClock(ManualClock):
    """Does not follow the database's clock either."""

    def follow(self, reference: int, *, taken_at: int) -> None:
        pass


@asynccontextmanager
async def opened(
    folder: Path, url: str | None = None, *, limits: RepositoryLimits | None = None
) -> AsyncIterator[World]:
    """A new world on SQLite in `folder`, or on the database `url`."""
    url = url or f"sqlite:///{folder / 'catalog.db'}"
    upgrade(url)
    catalog, disk = open_catalog(url), Disk()
    store = filesystem_store(folder / "store", disk)
    clock = StillClock()
    catalog.clock = clock  # type: ignore[misc]
    limits = limits or RepositoryLimits()
    await catalog.write(set_identity, "test-store", 1)
    await store.write_identity("test-store", 1)
    uploads = RepositoryUploads(catalog, store, limits)
    try:
        yield World(
            catalog,
            store,
            folder / "store",
            disk,
            clock,
            uploads,
            Blobs(catalog, store, limits),
            Manifests(catalog, limits),
        )
    finally:
        await catalog.close()
        await store.close()


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


def image_manifest(layers: tuple[bytes, ...], *, subject: Digest | None = None) -> bytes:
    """The bytes of a manifest with an empty config and these layers."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": str(Digest.of(b"{}")), "size": 2},
        "layers": [
            {"mediaType": OCI_LAYER, "digest": str(Digest.of(data)), "size": len(data)} for data in layers
        ],
    }
    if subject is not None:
        document["subject"] = {"mediaType": OCI_MANIFEST, "digest": str(subject), "size": 2}
    return json.dumps(document).encode()
