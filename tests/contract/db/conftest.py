"""Fixtures of the catalog's tests."""

from collections.abc import AsyncIterator

import pytest

from entrepot.server.db import Catalog, open_catalog
from tests.contract.db.catalogs import (  # noqa: F401 - fixtures
    catalog_url,
    migrated_postgresql_url,
    postgresql_template,
    sqlite_template,
    sqlite_url,
)


@pytest.fixture
async def catalog(catalog_url: str) -> AsyncIterator[Catalog]:  # noqa: F811
    opened = open_catalog(catalog_url)
    yield opened
    await opened.close()
