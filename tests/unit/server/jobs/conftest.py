from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.server.jobs.world import World, opened


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A new registry without HTTP; on SQLite, unless a test asks for `on_both`."""
    kind = getattr(request, "param", "sqlite")
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else None
    async with opened(tmp_path, url) as made:
        yield made
