"""A registry without HTTP for tests: all services over one catalog and a store in memory."""

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, func, select

from entrepot.oci import mediatype
from entrepot.oci.digest import Digest
from entrepot.server.access.decision.change import Change, Permit, allow_all
from entrepot.server.db import Catalog
from entrepot.server.db.clock import ManualClock
from entrepot.server.repos.blobs import Blobs, StoredBlob
from entrepot.server.repos.history import FOREVER, History, TagEvent, events_of_tag, restore_tag
from entrepot.server.repos.limits import DEFAULT_LIMITS, RepositoryLimits
from entrepot.server.repos.manifests import Manifests, PutManifestResult
from entrepot.server.repos.pulls import Pulls
from entrepot.server.repos.referrers import Referrers
from entrepot.server.repos.repositories import Repositories
from entrepot.server.repos.rows import RepositoryRow, find_repository
from entrepot.server.repos.tags import Tags
from entrepot.server.repos.uploads import RepositoryUploads
from entrepot.server.storage.memory import MemoryDriver, MemoryUploads
from entrepot.server.storage.store import BlobStore
from tests.support.actors import user

ALICE = user("alice", address="192.0.2.7", token_id="t1", request_id="r1")
REPO = "team/app"


class CountingStore(BlobStore):
    """In memory. Tells how many bytes of uploads were read back."""

    reread = 0

    def __init__(self) -> None:
        self.objects = MemoryDriver()
        super().__init__(self.objects, MemoryUploads(self.objects))

    async def read_upload(self, upload: str, start: int, end: int) -> Any:
        pieces = await super().read_upload(upload, start, end)
        self.reread += end - start
        return pieces


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def broken_stream(*pieces: bytes) -> AsyncIterator[bytes]:
    """A client that goes away after these bytes."""
    for piece in pieces:
        yield piece
    raise ConnectionResetError("the client went away")


@dataclass
class World:
    """Everything a test needs; `worker()` is another process of the same registry."""

    catalog: Catalog
    limits: RepositoryLimits = DEFAULT_LIMITS
    store: CountingStore = field(default_factory=CountingStore)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        four = (self.catalog, self.store, self.limits, self.clock)
        self.uploads, self.blobs = RepositoryUploads(*four), Blobs(*four)
        self.manifests = Manifests(self.catalog, self.limits, self.clock)
        self.tags, self.referrers = Tags(self.catalog), Referrers(self.catalog)
        self.repositories = Repositories(self.catalog)
        self.history, self.pulls = History(self.catalog), Pulls(self.catalog, self.clock)

    async def of_tag(self, name: str, *, before: int = FOREVER, n: int) -> tuple[list[TagEvent], bool]:
        return await self.catalog.read(events_of_tag, REPO, name, before, n)

    async def restore_tag(self, name: str, digest: Digest, *, permit: Permit = allow_all) -> str | None:
        clock = self.clock.now(), self.clock.steady()
        return await self.catalog.write(restore_tag, REPO, name, str(digest), ALICE, permit, *clock)

    def worker(self) -> "World":
        """Another process: it shares the catalog and the store, and remembers nothing."""
        return World(self.catalog, self.limits, self.store, self.clock)

    def with_limits(self, **limits: Any) -> "World":
        return World(self.catalog, RepositoryLimits(**limits), self.store, self.clock)

    async def blob(self, data: bytes, repository: str = REPO) -> StoredBlob:
        return await self.uploads.put(
            repository, Digest.of(data), stream(data), content_length=len(data), actor=ALICE
        )

    async def image(self, *layers: bytes, repository: str = REPO, **rest: Any) -> bytes:
        """The bytes of an image manifest whose blobs are there."""
        raw = image_manifest(*layers, **rest)
        for data in (config_of(layers), *layers):
            await self.blob(data, repository)
        return raw

    async def push(
        self, raw: bytes, tag: str | None = None, repository: str = REPO, **rest: Any
    ) -> PutManifestResult:
        return await self.manifests.put(
            repository, raw=raw, tag=tag, **{"media_type": None, "actor": ALICE, **rest}
        )

    async def rows(self, table: Table, *columns: str) -> list[tuple[Any, ...]]:
        """All rows of a table, ordered by its columns."""
        wanted = [table.c[name] for name in columns] if columns else list(table.c)

        def fetch(connection: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(select(*wanted).order_by(*wanted))]

        return await self.catalog.read(fetch)

    async def repository(self, name: str) -> RepositoryRow | None:
        """The live repository of a name."""
        return await self.catalog.read(find_repository, name)

    async def count(self, table: Table) -> int:
        def fetch(connection: Connection) -> int:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

        return await self.catalog.read(fetch)


def config_of(layers: Iterable[bytes]) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "n": [len(one) for one in layers]}).encode()


def described(data: bytes, media_type: str, **rest: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data), **rest}


def image_manifest(*layers: bytes, **rest: Any) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "config": described(config_of(layers), mediatype.OCI_CONFIG),
            "layers": [described(layer, mediatype.OCI_LAYER) for layer in layers],
            **rest,
        }
    ).encode()


def index_of(*manifests: bytes, media_type: str = mediatype.OCI_MANIFEST, **rest: Any) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_INDEX,
            "manifests": [described(one, media_type) for one in manifests],
            **rest,
        }
    ).encode()


def refusing(*actions: str) -> Any:
    """A permit that refuses some actions."""
    from entrepot.errors import Denied

    def permit(connection: Connection, change: Change) -> None:
        if change.action in actions:
            raise Denied(f"no {change.action}")

    return permit
