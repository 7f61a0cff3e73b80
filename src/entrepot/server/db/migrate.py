"""Bring a database to this version's schema, and refuse one that is not.

Migrations live beside this module and are shipped with the package. `upgrade` is called once, by the process
that starts the others; it is one transaction, so that a machine that stops in the middle leaves the old
schema.

Nodes are upgraded one after the other, so for a time the old program works on the new schema. A migration
that allows this (it only adds what the old program need not know) says `serves_previous = True`; the database
keeps the list of older schemas whose programs it serves. An old program that finds itself there may also be
started again, which is the way back: old → new → old.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from entrepot.server.db.errors import SchemaMismatch
from entrepot.server.db.location import parse_catalog_url
from entrepot.server.db.ownloop import run_in_own_loop
from entrepot.server.db.postgresql import CONNECTION_ERRORS, postgresql_engine
from entrepot.server.db.refusals import by_postgresql, by_sqlite, sqlstate
from entrepot.server.db.settings import SCHEMA_SERVES, get_setting, set_setting
from entrepot.server.db.sqlite import create_file, sqlite_engine
from entrepot.server.db.writerlock import WriterLock

__all__ = ["check_schema", "downgrade", "schema_version", "upgrade"]

T = TypeVar("T")

MIGRATIONS: Final = Path(__file__).with_name("migrations")
RUNS: Final = 5
_DEADLOCK: Final = "40P01"
_ADVISORY_LOCK: Final = text("SELECT pg_advisory_xact_lock(7236280154)")


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database that `url` names. Does nothing when it is up to date.

    Raises SchemaMismatch when a newer version has been here, InvalidCatalogUrl.
    """
    place = parse_catalog_url(url)
    if revision == "head" and _with_connection(place, _version, changes=False) == _revisions()[0]:
        return
    _with_connection(place, lambda connection: _upgrade(connection, revision))


def downgrade(url: str, revision: str) -> None:
    """Take the schema back to `revision`; for tests of migrations and for going back a release."""

    def back(connection: Connection) -> None:
        command.downgrade(_config(connection), revision)
        found = _version(connection)
        if found is not None:
            _write_served(connection, found)

    _with_connection(parse_catalog_url(url), back)


def schema_version(url: str) -> str | None:
    """The revision a database is at; None when it is empty."""
    return _with_connection(parse_catalog_url(url), _version, changes=False)


def check_schema(url: str) -> None:
    """Raise SchemaMismatch unless the database has the schema this version works with, or a newer one that
    serves it too.
    """
    found, served = _with_connection(parse_catalog_url(url), _version_and_served, changes=False)
    known = _revisions()
    if found == known[0] or known[0] in served:
        return
    if found is None:
        raise SchemaMismatch("the database is empty", hint="create its tables with: entrepot admin migrate")
    if found not in known:
        raise _newer(found)
    raise SchemaMismatch(
        f"the database has schema {found}, this version needs {known[0]}",
        hint="bring it up to date with: entrepot admin migrate",
    )


def _upgrade(connection: Connection, revision: str) -> None:
    found, served = _version_and_served(connection)
    known = _revisions()
    if found is not None and found not in known:
        if known[0] in served:
            return  # this program's successor has been here, and may be at work now
        raise _newer(found)
    command.upgrade(_config(connection), revision)
    now_at = _version(connection)
    if now_at is not None and now_at != found:
        _write_served(connection, now_at)


def _newer(found: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"the database has schema {found}, which a newer version of entrepot made",
        hint="run that version, or restore a backup made before the upgrade",
    )


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revisions() -> list[str]:
    """Known revisions, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _version_and_served(connection: Connection) -> tuple[str | None, list[str]]:
    """The schema's revision, and older ones whose programs may work on it."""
    found = _version(connection)
    if found is None:
        return None, []
    return found, (get_setting(connection, SCHEMA_SERVES) or "").split()


def _write_served(connection: Connection, revision: str) -> None:
    served, scripts = list[str](), ScriptDirectory.from_config(_config())
    for script in scripts.iterate_revisions(revision, "base"):
        if not getattr(script.module, "serves_previous", False):
            break
        served.append(str(script.down_revision))
    set_setting(connection, SCHEMA_SERVES, " ".join(served))


def _with_connection(url: URL, work: Callable[[Connection], T], *, changes: bool = True) -> T:
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        return _on_sqlite(path, work) if changes else _read_sqlite(path, work)
    return run_in_own_loop(lambda: _on_postgresql(url, work))


def _read_sqlite(path: Path, work: Callable[[Connection], T]) -> T:
    """Nobody is waited for, and no more of the file is read than `work` does: each start and each command of
    the operator comes here, also while the registry is busy or its file is damaged somewhere else.
    """
    create_file(path)
    engine = sqlite_engine(path, read_only=True)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            return work(connection)
    except DBAPIError as error:
        raise (by_sqlite(path, error) or error) from error
    finally:
        engine.dispose()


def _on_sqlite(path: Path, work: Callable[[Connection], T]) -> T:
    create_file(path)
    engine, lock = sqlite_engine(path), WriterLock(path)
    try:
        with lock.held(), engine.connect() as connection:
            # Tables are rebuilt by migrations; what refers to them is checked before COMMIT instead.
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            result = work(connection)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise SchemaMismatch(f"the migration would break references: {broken[:5]}")
            connection.commit()
            return result
    except DBAPIError as error:
        raise (by_sqlite(path, error) or error) from error
    finally:
        lock.close()
        engine.dispose()


async def _on_postgresql(url: URL, work: Callable[[Connection], T]) -> T:
    """Runs it again when servers of the version before held it in a circle of locks. Raises
    CatalogUnavailable.
    """
    engine = postgresql_engine(url, pool_size=1)
    try:
        for run in range(1, RUNS + 1):
            try:
                async with _connected(engine) as connection, connection.begin():
                    await connection.execute(_ADVISORY_LOCK)
                    await connection.execute(text("SET LOCAL statement_timeout = 0"))
                    return await connection.run_sync(work)
            except DBAPIError as error:
                if sqlstate(error) != _DEADLOCK or run == RUNS:
                    raise (by_postgresql(error) or error) from error
        raise AssertionError("every run returns or raises")
    finally:
        await engine.dispose()


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    connection = engine.connect()
    try:
        await connection.start()
    except CONNECTION_ERRORS as error:
        raise (by_postgresql(error) or error) from error
    try:
        yield connection
    finally:
        await connection.close()
