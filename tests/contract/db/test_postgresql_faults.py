"""B2: PostgreSQL ends connections whenever it likes; nothing acknowledged is lost and nothing else breaks."""

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import Connection, text

from entrepot.server.db import Catalog, HotQuery, open_catalog, postgresql, settings
from entrepot.server.db.clock import SECOND
from entrepot.server.db.errors import CatalogUnavailable, TextRefused
from entrepot.server.db.location import parse_catalog_url
from entrepot.server.db.postgresql import PostgresqlCatalog
from entrepot.server.db.settings import get_setting, set_setting
from entrepot.server.repos.uploads.ids import ensure_upload_key
from tests.contract.db.test_catalog import VALUE
from tests.support.postgresql import JumpingClock, run_sql

pytestmark = pytest.mark.anyio


def end_connections(url: str) -> None:
    parsed = parse_catalog_url(url)
    assert parsed.port is not None
    run_sql(
        parsed.port,
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{parsed.database}'"
        " and application_name = 'entrepot'",
    )


@pytest.fixture
async def catalog(migrated_postgresql_url: str) -> object:
    opened = open_catalog(migrated_postgresql_url)
    yield opened
    await opened.close()


async def test_a_text_with_nul_is_the_clients_mistake(catalog: Catalog) -> None:
    """PostgreSQL keeps none; whoever sent it is told so, and it is no failure of the registry."""
    with pytest.raises(TextRefused, match="NUL"):
        await catalog.write(set_setting, "colour", "r\0d")
    with pytest.raises(TextRefused, match="NUL"):
        await catalog.read(get_setting, "r\0d")
    with pytest.raises(TextRefused, match="NUL"):
        await catalog.hot(VALUE, name="r\0d")
    assert await catalog.read(get_setting, "colour") is None


async def test_nodes_that_make_a_secret_at_once_agree_on_it(
    catalog: Catalog, migrated_postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B3: another node commits its own between our look and our insert; its uploads are known here."""
    asked: list[str | None] = []

    def look(connection: Connection, name: str) -> str | None:
        asked.append(get_setting(connection, name))
        if len(asked) == 1:
            url = parse_catalog_url(migrated_postgresql_url)
            assert url.port is not None
            row = f"insert into setting (name, value) values ('{name}', '{'ab' * 32}')"
            run_sql(url.port, row, database=str(url.database))
        return asked[-1]

    monkeypatch.setattr(settings, "get_setting", look)
    assert await catalog.write(ensure_upload_key) == "ab" * 32
    assert asked == [None, "ab" * 32]


async def test_idle_connections_that_were_ended_are_replaced(
    catalog: Catalog, migrated_postgresql_url: str
) -> None:
    for round_no in range(3):
        await asyncio.gather(*(catalog.write(set_setting, f"{i}", f"{round_no}") for i in range(8)))
        await asyncio.gather(*(catalog.hot(VALUE, name=f"{i}") for i in range(8)))
        await asyncio.to_thread(end_connections, migrated_postgresql_url)
        assert await catalog.hot(VALUE, name="1") == [(str(round_no),)]
        assert await catalog.read(get_setting, "1") == str(round_no)


async def test_a_connection_ended_in_a_transaction_runs_it_again(
    catalog: Catalog, migrated_postgresql_url: str
) -> None:
    runs: list[int] = []

    def ended_once(connection: Connection) -> str:
        runs.append(1)
        set_setting(connection, "n", str(len(runs)))
        if len(runs) == 1:
            end_connections(migrated_postgresql_url)
        connection.execute(text("select 1"))
        return "done"

    assert await catalog.write(ended_once) == "done"
    assert await catalog.hot(VALUE, name="n") == [("2",)]


async def test_a_connection_ended_in_commit_is_told_as_unknown(
    catalog: PostgresqlCatalog, migrated_postgresql_url: str
) -> None:
    def ended_at_the_end(connection: Connection) -> None:
        set_setting(connection, "n", "1")
        end_connections(migrated_postgresql_url)

    with pytest.raises(CatalogUnavailable) as told:
        await catalog.write(ended_at_the_end)
    assert told.value.outcome_unknown
    assert told.value.retry_after_s
    await catalog.write(set_setting, "n", "2")  # the request is simply sent again
    assert await catalog.hot(VALUE, name="n") == [("2",)]


async def test_nothing_acknowledged_is_lost_while_connections_end(
    catalog: Catalog, migrated_postgresql_url: str
) -> None:
    acknowledged: list[str] = []

    async def client(number: int) -> None:
        for i in range(10):
            name = f"{number}-{i}"
            try:
                await catalog.write(set_setting, name, "x", durable=i % 2 == 0)
            except CatalogUnavailable:
                continue
            acknowledged.append(name)

    clients = asyncio.gather(*(client(number) for number in range(8)))
    for _ in range(3):
        await asyncio.to_thread(end_connections, migrated_postgresql_url)
    await clients
    found = await asyncio.gather(*(catalog.hot(VALUE, name=name) for name in acknowledged))
    assert found == [[("x",)]] * len(acknowledged)
    await catalog.write(set_setting, "after", "x")


async def test_a_server_that_is_not_there_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "PATIENCE_S", -1)
    catalog = open_catalog("postgresql://nobody@127.0.0.1:1/nothing")
    for attempt in (
        catalog.write(set_setting, "a", "b"),
        catalog.read(get_setting, "a"),
        catalog.hot(VALUE, name="a"),
    ):
        with pytest.raises(CatalogUnavailable) as told:
            await attempt
        assert told.value.retry_after_s
        assert not told.value.outcome_unknown
    await catalog.close()


async def test_a_cancelled_write_frees_its_connection(catalog: PostgresqlCatalog) -> None:
    for _ in range(20):  # more than there are connections
        call = asyncio.ensure_future(catalog.write(set_setting, "n", "x"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await catalog.write(set_setting, "after", "y")
    assert await catalog.hot(VALUE, name="after") == [("y",)]


async def test_a_node_with_a_wrong_clock_follows_the_database(
    migrated_postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G7: from the first lease on."""
    right = open_catalog(migrated_postgresql_url)
    real = time.time_ns
    monkeypatch.setattr("entrepot.server.db.clock.time.time_ns", lambda: real() - 86_400 * 10**9)
    wrong = open_catalog(migrated_postgresql_url)
    assert right.clock.steady() - right.clock.now() > 86_000 * 10**6
    assert abs(right.clock.steady() - wrong.clock.steady()) < 5_000_000
    await wrong.close()
    await right.close()


def test_hot_queries_speak_the_drivers_own_sql() -> None:
    query: HotQuery = VALUE
    assert "$1" in query.postgresql.sql
    assert "?" in query.sqlite.sql
    assert query.postgresql.arguments({"name": "x"}) == query.sqlite.arguments({"name": "x"}) == ("x",)
    with pytest.raises(KeyError):
        query.sqlite.arguments({})


async def test_a_clock_that_is_set_moves_no_lease(
    migrated_postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G7: the database's clock jumps by a day and back; nodes that run and nodes that start agree all the
    time, and steady time goes on as if nothing had been."""
    monkeypatch.setattr(postgresql, "CLOCK_CHECK_US", 0)  # look at every transaction
    clock = JumpingClock(migrated_postgresql_url)
    first, second = (open_catalog(migrated_postgresql_url) for _ in range(2))
    try:
        began = first.clock.steady()
        for jump_s in (86_400, -2 * 86_400, 600):
            clock.jump(jump_s)
            for node in (first, second, first):
                await node.read(get_setting, "any")
            newcomer = open_catalog(migrated_postgresql_url)
            await newcomer.read(get_setting, "any")
            for node in (first, second, newcomer):
                assert 0 <= node.clock.steady() - began < 60 * SECOND, f"after a jump of {jump_s} s"
            await newcomer.close()
    finally:
        await first.close()
        await second.close()


async def test_a_connection_that_stalled_is_no_clock_that_was_set(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G7, N1: the answer came 13.5 s after the question, and nobody knows when the clock was read."""
    assert isinstance(catalog, PostgresqlCatalog)
    await catalog.read(get_setting, "any")
    began, real, calls = catalog.clock.steady(), postgresql.since_boot, 0

    def stalled() -> int:
        nonlocal calls
        calls += 1
        return real() - (13_500_000 if calls == 2 else 0)  # when it was asked, not when it is answered

    monkeypatch.setattr(catalog, "_clock_checked", 0)
    monkeypatch.setattr(postgresql, "since_boot", stalled)
    await catalog.read(get_setting, "any")
    assert calls > 1
    assert 0 <= catalog.clock.steady() - began < 5 * SECOND
    assert await catalog.read(get_setting, settings.CLOCK_OFFSET) is None


async def test_looks_at_a_clock_that_was_set_do_not_overtake_one_another(
    migrated_postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G7: of two at once the second has read the old offset, and hears of it after the first is done."""
    clock = JumpingClock(migrated_postgresql_url)
    catalog = open_catalog(migrated_postgresql_url)
    follow, looks = PostgresqlCatalog._follow_database, 0

    class Late:
        """A connection whose second answer, the offset, takes its time."""

        def __init__(self, connection: Any) -> None:
            self._connection, self._asked = connection, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        async def execute(self, *args: Any) -> Any:
            result, self._asked = await self._connection.execute(*args), self._asked + 1
            if self._asked == 2:
                await asyncio.sleep(0.5)
            return result

    async def follow_slowly(self: PostgresqlCatalog, connection: Any) -> None:
        nonlocal looks
        looks += 1
        number = looks
        if number == 1:
            await asyncio.sleep(0.2)
        await follow(self, connection if number == 1 else Late(connection))

    try:
        await catalog.read(get_setting, "any")
        began = catalog.clock.steady()
        clock.jump(86_400)
        monkeypatch.setattr(PostgresqlCatalog, "_follow_database", follow_slowly)
        monkeypatch.setattr(catalog, "_clock_checked", 0)
        await asyncio.gather(*(catalog.read(get_setting, "any") for _ in range(2)))
        assert 0 <= catalog.clock.steady() - began < 60 * SECOND
    finally:
        await catalog.close()


async def test_a_failover_leaves_no_connection_to_the_old_primary(
    migrated_postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B2: what a standby refuses is asked again on a new connection, and told as 503 while there is none."""
    monkeypatch.setattr(postgresql, "PATIENCE_S", -1)
    url = parse_catalog_url(migrated_postgresql_url)
    assert url.port is not None
    run_sql(url.port, f"alter database {url.database} set default_transaction_read_only = on")
    catalog = open_catalog(migrated_postgresql_url)
    try:
        with pytest.raises(CatalogUnavailable) as told:
            await catalog.write(set_setting, "n", "1")
        assert told.value.retry_after_s
        assert not told.value.outcome_unknown
        run_sql(url.port, f"alter database {url.database} reset default_transaction_read_only")
        await catalog.write(set_setting, "n", "2")
        assert await catalog.hot(VALUE, name="n") == [("2",)]
    finally:
        await catalog.close()
