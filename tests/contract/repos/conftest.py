"""Fixtures of the services' tests: a whole registry without HTTP, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from entrepot.server.db import open_catalog
from tests.contract.db.catalogs import (  # noqa: F401 - fixtures
    catalog_url,
    migrated_postgresql_url,
    postgresql_template,
    sqlite_template,
    sqlite_url,
)
from tests.contract.repos.world import World


@pytest.fixture
async def world(catalog_url: str) -> AsyncIterator[World]:  # noqa: F811
    catalog = open_catalog(catalog_url)
    yield World(catalog)
    await catalog.close()
