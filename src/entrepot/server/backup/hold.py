"""Holding back every change of a catalog, also those of servers that run, while reads go on.

On SQLite the writers' lock says so, on PostgreSQL the tables are locked for writing. Transactions wait, and
after a while clients hear 503 with Retry-After.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

from entrepot.server.backup.errors import HoldFailed, HoldLost
from entrepot.server.db.location import parse_catalog_url
from entrepot.server.db.refusals import by_postgresql
from entrepot.server.db.tables import metadata
from entrepot.server.db.writerlock import WriterLock

__all__ = ["changes_held"]

CONNECT_TIMEOUT_S: Final = 10.0
DEADLOCKS: Final = 10
_NOT_CONTENT: Final = {"node", "lease", "job", "sign_in_attempt"}
_SESSION: Final = {
    "application_name": "entrepot-hold",
    "idle_in_transaction_session_timeout": "0",
    "statement_timeout": "0",
    "lock_timeout": "0",
}


@asynccontextmanager
async def changes_held(url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Nothing changes in the catalog at `url` until the block ends.

    Yields a function that raises HoldLost when that can't be promised any more.
    """
    parsed = parse_catalog_url(url)
    if parsed.get_backend_name() == "sqlite":
        async with _sqlite(Path(parsed.database or "")) as held:
            yield held
    else:
        dsn = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
        async with _postgresql(dsn) as held:
            yield held


@asynccontextmanager
async def _sqlite(path: Path) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    lock = WriterLock(path)
    held = lock.all_held_back()
    try:
        await asyncio.to_thread(held.__enter__)  # it waits for transactions that are under way
        try:
            yield _certain
        finally:
            held.__exit__(None, None, None)
    finally:
        lock.close()


async def _certain() -> None:
    """The kernel keeps the lock as long as this process lives."""


@asynccontextmanager
async def _postgresql(dsn: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    try:
        connection = await asyncpg.connect(dsn=dsn, timeout=CONNECT_TIMEOUT_S, server_settings=_SESSION)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise HoldFailed(f"changes can't be held back: {_reason(error)}") from error

    async def check() -> None:
        try:
            await connection.fetchval("SELECT 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise HoldLost(
                "the database ended the session that held changes back; run the command again"
            ) from error

    try:
        transaction = await _lock_tables(connection)
        yield check
        await transaction.rollback()
    finally:
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await connection.close(timeout=CONNECT_TIMEOUT_S)


async def _lock_tables(connection: asyncpg.Connection) -> asyncpg.transaction.Transaction:
    """The transaction that holds the locks. Raises HoldFailed."""
    names = [table.name for table in metadata.sorted_tables if table.name not in _NOT_CONTENT]
    tables = ", ".join(f'"{name}"' for name in names)
    for _ in range(DEADLOCKS):
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(f"LOCK TABLE {tables} IN SHARE MODE")
        except asyncpg.DeadlockDetectedError:
            # A change that runs holds a table further back and wants one that is ours already.
            await transaction.rollback()
            continue
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise HoldFailed(f"changes can't be held back: {_reason(error)}") from error
        return transaction
    raise HoldFailed("changes can't be held back: the database is too busy; run the command again")


def _reason(error: Exception) -> str:
    told = by_postgresql(error)
    return "the database refused it" if told is None else told.message
