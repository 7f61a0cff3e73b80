"""The registry of the management tests, with more people in it, which can be put back to how it was."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.access.people import World, build_world
from tests.unit.server.api.conftest import Registry, registry, team

__all__ = ["registry", "restore", "team", "world"]


@pytest.fixture
async def world(team: Registry, tmp_path: Path) -> World:
    return await build_world(team, tmp_path)


@pytest.fixture
def restore(world: World, tmp_path: Path) -> Callable[[], None]:
    """Takes back every change since the world was built."""
    catalog: Path = world.registry.services.catalog.path  # type: ignore[attr-defined]
    kept = tmp_path / "as-it-was.db"

    def copy(source: Path, target: Path) -> None:
        with (
            contextlib.closing(sqlite3.connect(source, timeout=30)) as one,
            contextlib.closing(sqlite3.connect(target, timeout=30)) as other,
        ):
            other.execute("PRAGMA synchronous=OFF")
            one.backup(other)

    copy(catalog, kept)
    return lambda: copy(kept, catalog)
