"""What every catalog promises, on SQLite and on PostgreSQL."""

import asyncio

import pytest
from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from entrepot.server.access.decision.change import allow_all
from entrepot.server.db import Catalog, HotQuery, RetryTransaction, open_catalog
from entrepot.server.db.settings import (
    CatalogIdentity,
    clear_setting,
    get_identity,
    get_setting,
    set_identity,
    set_setting,
)
from entrepot.server.db.tables import repo, setting
from entrepot.server.repos.rows import ensure_repository
from tests.support.actors import user

pytestmark = pytest.mark.anyio

VALUE = HotQuery(select(setting.c.value).where(setting.c.name == bindparam("name")))


def put(connection: Connection, name: str, value: str) -> str:
    set_setting(connection, name, value)
    return f"{name}={value}"


def put_then_fail(connection: Connection, name: str) -> None:
    set_setting(connection, name, "never")
    raise LookupError(name)


async def test_what_a_write_returned_is_there_for_every_kind_of_read(catalog: Catalog) -> None:
    assert await catalog.write(put, "colour", "red") == "colour=red"
    assert await catalog.hot(VALUE, name="colour") == [("red",)]
    assert await catalog.read(get_setting, "colour") == "red"
    await catalog.write(put, "colour", "blue", durable=False)
    assert await catalog.hot(VALUE, name="colour") == [("blue",)]
    await catalog.write(clear_setting, "colour")
    assert await catalog.hot(VALUE, name="colour") == []


async def test_a_failed_function_leaves_nothing_and_harms_no_other(catalog: Catalog) -> None:
    calls = [
        *(catalog.write(put, f"good{i}", "kept") for i in range(10)),
        catalog.write(put_then_fail, "bad"),
        *(catalog.write(put, f"more{i}", "kept") for i in range(10)),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results].count(LookupError) == 1
    assert await catalog.read(get_setting, "bad") is None
    assert await catalog.read(get_setting, "good9") == await catalog.read(get_setting, "more9") == "kept"


async def test_reads_can_not_write(catalog: Catalog) -> None:
    with pytest.raises(Exception, match=r"(?i)read.?only"):
        await catalog.read(set_setting, "colour", "red")
    assert await catalog.write(put, "colour", "red")


async def test_a_broken_constraint_is_told_as_such(catalog: Catalog) -> None:
    def orphan(connection: Connection) -> None:
        connection.execute(insert(repo).values(project_id=77, name="a/b", created_at=1))

    with pytest.raises(IntegrityError):
        await catalog.write(orphan)


async def test_a_mistaken_statement_is_no_outage(catalog: Catalog) -> None:
    with pytest.raises(DBAPIError):
        await catalog.write(lambda connection: connection.exec_driver_sql("select nonsense from nowhere"))
    assert await catalog.write(put, "colour", "red")


async def test_a_lost_race_runs_the_function_again(catalog: Catalog) -> None:
    """B3: two transactions make the same repository; both succeed, with one row."""
    actor = user("alice")

    def make(connection: Connection) -> int:
        return ensure_repository(connection, "team/app", actor=actor, permit=allow_all, at=1).id

    made = await asyncio.gather(*(catalog.write(make) for _ in range(6)))
    assert len(set(made)) == 1


async def test_changes_of_one_row_are_not_lost(catalog: Catalog) -> None:
    def count(connection: Connection) -> None:
        value = connection.execute(
            select(setting.c.value).where(setting.c.name == "n").with_for_update()
        ).scalar_one()
        connection.execute(update(setting).where(setting.c.name == "n").values(value=str(int(value) + 1)))

    await catalog.write(put, "n", "0")
    await asyncio.gather(*(catalog.write(count, durable=i % 2 == 0) for i in range(40)))
    assert await catalog.read(get_setting, "n") == "40"


async def test_a_function_that_asks_for_it_is_run_again(catalog: Catalog) -> None:
    runs: list[int] = []

    def second_time(connection: Connection) -> str:
        runs.append(1)
        set_setting(connection, f"run{len(runs)}", "x")
        if len(runs) < 2:
            raise RetryTransaction
        return "done"

    assert await catalog.write(second_time) == "done"
    assert await catalog.read(get_setting, "run1") is None


async def test_identity_is_kept(catalog: Catalog) -> None:
    assert await catalog.read(get_identity) is None
    await catalog.write(set_identity, "store-1", 3)
    assert await catalog.read(get_identity) == CatalogIdentity("store-1", 3)


async def test_processes_agree_on_steady_time(catalog: Catalog, catalog_url: str) -> None:
    """G7: all who use a catalog measure leases with the same clock."""
    other = open_catalog(catalog_url)
    try:
        await catalog.write(put, "a", "b")
        await other.write(put, "c", "d")
        assert abs(catalog.clock.steady() - other.clock.steady()) < 5_000_000
    finally:
        await other.close()
