from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from entrepot.server.backup.migrate import Side
from entrepot.server.db import open_catalog, upgrade
from entrepot.server.storage.filesystem import filesystem_store
from entrepot.server.storage.objects import open_bucket
from entrepot.server.storage.store import BlobStore
from tests.support.seaweedfs import S3Location
from tests.unit.server.world import World, opened


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A new registry without HTTP; on SQLite, unless a test asks for `on_both`."""
    kind = getattr(request, "param", "sqlite")
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else None
    async with opened(tmp_path / "world", url) as made:
        yield made


class Places:
    """Makes empty places for a registry."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest, until_end: AsyncExitStack) -> None:
        self._folder = folder
        self._request = request
        self._until_end = until_end

    def url(self, kind: str, name: str) -> str:
        """The URL of a migrated, empty catalog."""
        if kind == "postgresql":
            url = str(self._request.getfixturevalue("postgresql_url"))
        else:
            url = f"sqlite:///{self._folder / name / 'catalog.db'}"
        upgrade(url)
        return url

    def store(self, kind: str, name: str) -> BlobStore:
        if kind == "bucket":
            place: S3Location = self._request.getfixturevalue("s3_location")
            return open_bucket(
                f"s3://{place.bucket}/{place.prefix}/{name}",
                endpoint=place.endpoint,
                region="us-east-1",
                access_key_id=place.access_key,
                secret_access_key=place.secret_key,
                allow_http=True,
            )
        return filesystem_store(self._folder / name / "store")

    def side(self, catalog: str, store: str, name: str) -> Side:
        """An empty place, closed at the end."""
        url = self.url(catalog, name)
        made = Side(url, open_catalog(url), self.store(store, name))
        self._until_end.push_async_callback(made.catalog.close)
        self._until_end.push_async_callback(made.store.close)
        return made


@pytest.fixture
async def places(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Places]:
    async with AsyncExitStack() as until_end:
        yield Places(tmp_path, request, until_end)
