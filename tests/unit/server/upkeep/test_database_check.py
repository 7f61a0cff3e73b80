"""Damage of the database file is told from a disk that fails to read it, and looked at again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from entrepot.server.db import upgrade
from entrepot.server.db.sqlite import SqliteCatalog
from entrepot.server.upkeep.integrity import database_check
from entrepot.server.upkeep.integrity.database_check import check_integrity, judge, watch_integrity

pytestmark = pytest.mark.anyio

# As SQLite tells of reads that ended with EIO (its codes for IOERR), and of wrong bits.
NOT_READ = "Page 157: unable to get the page. error code=8458"
NOT_READ_BTREE = "Tree 7 page 12: btreeInitPage() returns error code 266"
TORN = "Tree 7 page 12: btreeInitPage() returns error code 11"


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[SqliteCatalog]:
    await asyncio.to_thread(upgrade, f"sqlite:///{tmp_path / 'catalog.db'}")
    made = SqliteCatalog(tmp_path / "catalog.db")
    yield made
    await made.close()


class Pages:
    """What the next checks say, and how many there were; the last goes on for ever."""

    def __init__(self, *says: list[str]) -> None:
        self._says = list(says)
        self.looks = 0

    def __call__(self, connection: object, thorough: bool) -> list[str]:
        del connection, thorough
        self.looks += 1
        return self._says.pop(0) if len(self._says) > 1 else self._says[0]


@asynccontextmanager
async def watched(catalog: SqliteCatalog) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(watch_integrity(catalog, stop, look_s=0.001))
    try:
        yield
    finally:
        stop.set()
        await task


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_page_that_was_not_read_is_no_damage() -> None:
    """B5: the same list tells of both."""
    assert judge([NOT_READ, NOT_READ_BTREE], references=[]).damaged == []
    assert judge([TORN], references=[]).damaged == [TORN]
    assert judge([NOT_READ, TORN], references=[]).damaged == []


async def test_a_read_error_that_passes_leaves_the_registry_writable(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: it is told, and asked again."""
    pages = Pages([NOT_READ], [])
    monkeypatch.setattr(database_check, "_check_pages", pages)
    assert await check_integrity(catalog) == [NOT_READ]
    assert catalog.read_only is None
    assert await check_integrity(catalog) == []


async def test_a_disk_that_fails_time_after_time_makes_it_read_only_until_it_reads(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: pulls go on meanwhile; nobody has to tidy up."""
    says = [[NOT_READ]] * database_check.UNREADABLE_LOOKS
    pages = Pages(*says, [NOT_READ], [])
    monkeypatch.setattr(database_check, "_check_pages", pages)
    told: list[str | None] = []
    noted = catalog.set_read_only
    monkeypatch.setattr(catalog, "set_read_only", lambda reason: (told.append(reason), noted(reason))[1])
    async with watched(catalog):
        await until(lambda: None in told)
    assert next(reason for reason in told if reason).startswith("the disk fails to read it")
    assert catalog.read_only is None


async def test_damage_is_looked_at_again_while_it_is_read_only(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: no job runs then, and it must not stay so for ever when it was the memory."""
    pages = Pages([TORN], [TORN], [])
    monkeypatch.setattr(database_check, "_check_pages", pages)
    async with watched(catalog):
        await until(lambda: pages.looks >= 1 and catalog.read_only is not None)
        await until(lambda: catalog.read_only is None)
    assert pages.looks >= 3


async def test_fsck_ends_read_only_when_the_file_is_sound(catalog: SqliteCatalog) -> None:
    """B5: the thorough check is what fsck runs."""
    catalog.set_read_only("a page was torn")
    assert await check_integrity(catalog, thorough=True) == []
    assert catalog.read_only is None
