"""What a database refuses is told in words of ours: none of its own text, and what to do next."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Select, column, select, table
from sqlalchemy.exc import DBAPIError

from entrepot.server.backup.errors import HoldFailed
from entrepot.server.backup.hold import changes_held
from entrepot.server.db import Catalog, HotQuery, migrate, open_catalog, postgresql, sqlite, upgrade
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.db.location import parse_catalog_url
from entrepot.server.db.settings import get_setting, set_setting
from entrepot.server.db.tables import setting
from tests.contract.db.test_catalog import VALUE

pytestmark = pytest.mark.anyio

THEIRS = re.compile(r"asyncpg|sqlalche|psycopg|canceling|Errno|SQL:|\(.*Error", re.IGNORECASE)


def in_our_words(told: CatalogUnavailable | HoldFailed) -> str:
    """Nor is what to do on the database told to clients."""
    assert told.hint is None
    assert not THEIRS.search(told.message), told.message
    return told.message


async def test_changes_that_are_held_back_say_so(
    migrated_postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_MS", 50)
    monkeypatch.setattr(postgresql, "PATIENCE_S", -1)
    catalog = open_catalog(migrated_postgresql_url)
    try:
        async with changes_held(migrated_postgresql_url):
            with pytest.raises(CatalogUnavailable, match="holds back such changes") as told:
                await catalog.write(set_setting, "colour", "red")
        in_our_words(told.value)
        assert told.value.operator_hint
        await catalog.write(set_setting, "colour", "red")
    finally:
        await catalog.close()


def elsewhere(url: str, **parts: str | int) -> str:
    return parse_catalog_url(url).set(drivername="postgresql", **parts).render_as_string(hide_password=False)  # type: ignore[arg-type]  # what URL.set takes


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        pytest.param({"port": 1}, "can't be reached: connection refused", id="stopped"),
        pytest.param({"database": "nothing"}, "has no database of the name", id="no database"),
        pytest.param({"username": "nobody"}, "does not let this account in", id="no account"),
    ],
)
async def test_a_postgresql_that_can_not_be_used_is_told_in_words(
    migrated_postgresql_url: str,
    parts: dict[str, str | int],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By commands, by servers that start, and by those that run."""
    monkeypatch.setattr(postgresql, "PATIENCE_S", -1)
    url = elsewhere(migrated_postgresql_url, **parts)
    with pytest.raises(CatalogUnavailable, match=words) as at_start:
        upgrade(url)
    in_our_words(at_start.value)
    assert at_start.value.operator_hint
    catalog: Catalog = open_catalog(url)
    for attempt in (
        catalog.write(set_setting, "a", "b"),
        catalog.read(get_setting, "a"),
        catalog.hot(VALUE, name="a"),
    ):
        with pytest.raises(CatalogUnavailable, match=words) as told:
            await attempt
        in_our_words(told.value)
    await catalog.close()
    with pytest.raises(HoldFailed, match=words) as held:
        async with changes_held(url):
            pass
    in_our_words(held.value)


async def test_a_read_that_takes_too_long_is_told_in_words(
    migrated_postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hot reads speak to the driver itself."""
    catalog = open_catalog(migrated_postgresql_url)

    async def cancelled(*_: object) -> None:
        raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")

    monkeypatch.setattr(catalog, "_hot", cancelled)
    with pytest.raises(CatalogUnavailable, match="took too long") as told:
        await catalog.hot(VALUE, name="a")
    in_our_words(told.value)
    await catalog.close()


@pytest.mark.parametrize(
    ("broken", "refusal"),
    [
        pytest.param(
            select(column("value")).select_from(table("nowhere")), asyncpg.UndefinedTableError, id="no table"
        ),
        pytest.param(
            select(column("colour")).select_from(setting), asyncpg.UndefinedColumnError, id="no column"
        ),
    ],
)
async def test_a_mistake_of_ours_is_no_connection_that_broke(
    migrated_postgresql_url: str, broken: Select[Any], refusal: type[Exception]
) -> None:
    """Nobody is told to try again what never works; it is a failure to look into."""
    catalog = open_catalog(migrated_postgresql_url)
    try:
        with pytest.raises(refusal):
            await catalog.hot(HotQuery(broken))
        for attempt in (catalog.read, catalog.write):
            with pytest.raises(DBAPIError) as told:
                await attempt(lambda connection: connection.execute(broken))
            assert isinstance(getattr(told.value.orig, "__cause__", None), refusal)
        assert await catalog.hot(VALUE, name="colour") == []
    finally:
        await catalog.close()


async def test_a_migration_that_meets_a_push_in_a_circle_of_locks_is_run_again(
    migrated_postgresql_url: str,
) -> None:
    """Nodes of the version before go on while the first new one starts."""
    runs: list[int] = []

    def work(connection: object) -> str:
        runs.append(1)
        if len(runs) == 1:
            raise DBAPIError("LOCK", {}, asyncpg.DeadlockDetectedError("deadlock detected"))
        return "done"

    assert migrate._with_connection(parse_catalog_url(migrated_postgresql_url), work) == "done"
    assert len(runs) == 2


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sqlite.sqlite_engine.__kwdefaults__, "busy_timeout_ms", 20)


@pytest.mark.usefixtures("impatient")
async def test_a_sqlite_file_that_another_program_locks_is_told_in_words(sqlite_url: str) -> None:
    """Whether a catalog has its schema is read without a lock; opening it takes the writer's once."""
    path = sqlite_url.removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        upgrade(sqlite_url)
        with pytest.raises(CatalogUnavailable, match="another program keeps") as told:
            open_catalog(sqlite_url)
        assert path in in_our_words(told.value)
        assert told.value.operator_hint
    finally:
        other.close()


@pytest.mark.usefixtures("impatient")
async def test_a_new_sqlite_file_that_another_program_locks_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        for use in (upgrade, open_catalog):
            with pytest.raises(CatalogUnavailable, match="another program keeps") as told:
                use(f"sqlite:///{path}")
            assert str(path) in in_our_words(told.value)
            assert told.value.operator_hint
    finally:
        other.close()


@pytest.mark.usefixtures("impatient")
async def test_a_file_that_is_no_database_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_text("no database at all, and longer than a header of one is" * 10)
    for use in (upgrade, open_catalog):
        with pytest.raises(CatalogUnavailable, match="is no SQLite database") as told:
            use(f"sqlite:///{path}")
        in_our_words(told.value)
