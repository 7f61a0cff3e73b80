"""The catalog on PostgreSQL: whole transactions, retried whole; hot reads on a pool of their own.

What may be repeated is repeated: a transaction that was refused (serialization, deadlock, a lost race for a
row) or whose connection broke before COMMIT. A connection that breaks during COMMIT leaves the outcome
unknown; that is told as CatalogUnavailable with `outcome_unknown`, and every request of this registry may be
sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Concatenate, Final, TypeVar

import asyncpg
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from entrepot.backoff import backoff_s
from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import SECOND, SteadyClock, microseconds, since_boot
from entrepot.server.db.errors import CatalogFull, CatalogUnavailable, RetryTransaction, TextRefused
from entrepot.server.db.ownloop import run_in_own_loop
from entrepot.server.db.refusals import by_postgresql, sqlstate
from entrepot.server.db.settings import CLOCK_OFFSET
from entrepot.server.db.silence import DatabaseSilent, SilenceWatch
from entrepot.server.db.statements import HotQuery

__all__ = ["PostgresqlCatalog", "postgresql_engine"]

T = TypeVar("T")
log = get_log(__name__)

RUNS: Final = 6
"""Runs of one transaction before its caller hears that the database is busy."""
FIRST_PAUSE_S: Final = 0.01
LONGEST_PAUSE_S: Final = 2.56
PATIENCE_S: Final = 8
"""No new run after so long: the client is told to come back."""
POOL_SIZE: Final = 8
HOT_POOL_SIZE: Final = 8
STATEMENT_TIMEOUT_MS: Final = 60_000
LOCK_TIMEOUT_MS: Final = 20_000
CONNECT_TIMEOUT_S: Final = 5
SILENCE_S: Final = 9
"""A connection whose other end has not even acknowledged a packet for so long is given up."""
CLOCK_CHECK_US: Final = microseconds(10)
CLOCK_STEP_US: Final = microseconds(5)
"""More than this between two looks is no drift: the database's clock was set."""
CLOCK_TRIP_US: Final = microseconds(1)
"""When the answer took longer, nobody knows when in between the clock was read."""

_STANDBY: Final = "25006"  # read-only: after a failover, a connection to what was the primary
_REFUSED: Final = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock timeout
_FULL: Final = {"53100", "53200"}  # disk full, out of memory
_NO_TEXT: Final = "22021"  # a character that is none: NUL
_NOW: Final = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
_OFFSET: Final = text("SELECT value FROM setting WHERE name = :name").bindparams(name=CLOCK_OFFSET)
_FIRST_OFFSET: Final = text(
    "INSERT INTO setting (name, value) VALUES (:name, :new) ON CONFLICT DO NOTHING"
).bindparams(name=CLOCK_OFFSET)
_NEXT_OFFSET: Final = text("UPDATE setting SET value = :new WHERE name = :name AND value = :old").bindparams(
    name=CLOCK_OFFSET
)


def postgresql_engine(url: URL, *, durable: bool = True, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """An engine whose connections commit durably, or don't wait for the disk."""
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "server_settings": {
                "application_name": "entrepot",
                "synchronous_commit": "on" if durable else "off",
                "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": str(STATEMENT_TIMEOUT_MS),
                **_SERVER_NOTICES,
            },
        },
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, record: object) -> None:  # noqa: ARG001 - the event's signature
        notice_silence(connection.driver_connection)

    return engine


_SERVER_NOTICES: Final = {
    "tcp_keepalives_idle": str(SILENCE_S),
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": str(SILENCE_S * 1000),
}
"""So that the server lets go of the locks of a node that the network has cut off."""


def notice_silence(connection: Any) -> None:
    """Let the kernel end asyncpg's `connection` when the network between has gone silent.

    A cut cable sends no word of it: without this, whoever waits for an answer waits for a quarter of an hour.
    """
    plain = connection._transport.get_extra_info("socket")
    if plain is None or plain.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with socket.socket(fileno=os.dup(plain.fileno())) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_S * 1000)


async def _init_hot(connection: Any) -> None:
    notice_silence(connection)


class _OnStandby(Exception):
    """A write came to a server that takes none; its connection is closed by now."""


class PostgresqlCatalog(Catalog):
    """Catalog on a PostgreSQL server, shared by any number of nodes."""

    dialect = "postgresql"

    def __init__(self, url: URL) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._durable = postgresql_engine(url)
        self._relaxed = postgresql_engine(url, durable=False, pool_size=POOL_SIZE // 2)
        self._hot_pool: asyncpg.Pool | None = None
        self._hot_lock = asyncio.Lock()
        self.clock = SteadyClock()
        self._clock_checked: int | None = None
        self._clock_offset = 0
        # Before the first lease is computed; without an answer, with the first connection.
        with contextlib.suppress(*CONNECTION_ERRORS, asyncpg.PostgresError):
            now, offset, taken_at, trip = run_in_own_loop(self._database_time)
            if trip <= CLOCK_TRIP_US:
                self.clock.follow(now - offset, taken_at=taken_at)
                self._clock_offset, self._clock_checked = offset, taken_at
        self._running: set[asyncio.Future[Any]] = set()
        self._listener = SilenceWatch(self._ask)

    async def write(
        self,
        fn: Callable[Concatenate[Connection, ...], T],
        /,
        *args: Any,
        durable: bool = True,
        brief: bool = False,
    ) -> T:
        del brief  # a connection is waited for in any case
        # A caller that is cancelled must not leave COMMIT half sent and its connection in use: the
        # transaction goes on to its end by itself.
        engine = self._durable if durable else self._relaxed
        task = asyncio.ensure_future(self._retried(lambda: self._write(engine, fn, args)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            result: T = await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_heard)
            raise
        return result

    async def read(self, fn: Callable[Concatenate[Connection, ...], T], /, *args: Any) -> T:
        result: T = await self._retried(lambda: self._read(fn, args))
        return result

    async def hot(self, query: HotQuery, /, **params: Any) -> list[tuple[Any, ...]]:
        compiled = query.postgresql
        arguments = compiled.arguments(params)
        rows: list[tuple[Any, ...]] = await self._retried(lambda: self._hot(compiled.sql, arguments))
        return rows

    async def _retried(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """Run whole attempts until one is not refused, for as long as a client will wait."""
        last: Exception | None = None
        give_up_at = asyncio.get_running_loop().time() + PATIENCE_S
        for run in range(RUNS):
            if run:
                await _pause(run)
            try:
                return await self._listener.attempt(attempt)
            except DatabaseSilent as error:
                raise CatalogUnavailable("the database does not answer", retry_after_s=5) from error
            except DBAPIError as error:
                if sqlstate(error) not in _REFUSED and not _is_lost(error):
                    raise _translated(error) from error
                last = error
            except (RetryTransaction, _OnStandby, *CONNECTION_ERRORS) as error:
                last = error
            except asyncpg.PostgresError as error:  # from the driver itself, in a hot read
                if sqlstate(error) not in _REFUSED:
                    raise _translated(error) from error
                last = error
            if asyncio.get_running_loop().time() > give_up_at:
                break
        raise _busy(last) from last

    async def _write(self, engine: AsyncEngine, fn: Callable[..., T], args: tuple[Any, ...]) -> T:
        async with self._connection(engine) as connection:
            try:
                return await self._transaction(connection, fn, args)
            except DBAPIError as error:
                if sqlstate(error) != _STANDBY:
                    raise
                await connection.invalidate()  # the next one may lead to the new primary
                raise _OnStandby from error

    async def _read(self, fn: Callable[..., T], args: tuple[Any, ...]) -> T:
        async with self._connection(self._durable) as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            return await connection.run_sync(fn, *args)

    async def _hot(self, sql: str, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        pool = await self._pool()
        try:
            async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                try:
                    return [tuple(row) for row in await connection.fetch(sql, *arguments)]
                except asyncio.CancelledError:
                    if self._listener.silent:
                        connection.terminate()  # giving it back would wait for an answer to the cancellation
                    raise
        except CONNECTION_ERRORS:
            await pool.expire_connections()  # what ended one has mostly ended all
            raise

    async def close(self) -> None:
        if self._running:
            await asyncio.wait(self._running)
        await self._listener.close()
        await self._durable.dispose()
        await self._relaxed.dispose()
        if self._hot_pool is not None:
            await self._hot_pool.close()

    async def _pool(self) -> asyncpg.Pool:
        if self._hot_pool is None:
            async with self._hot_lock:
                if self._hot_pool is None:
                    self._hot_pool = await asyncpg.create_pool(
                        dsn=self._dsn,
                        min_size=1,
                        max_size=HOT_POOL_SIZE,
                        timeout=CONNECT_TIMEOUT_S,
                        command_timeout=STATEMENT_TIMEOUT_MS / 1000,
                        init=_init_hot,
                        server_settings={
                            "application_name": "entrepot",
                            "default_transaction_read_only": "on",
                            **_SERVER_NOTICES,
                        },
                    )
        return self._hot_pool

    async def _transaction(
        self, connection: AsyncConnection, fn: Callable[..., T], args: tuple[Any, ...]
    ) -> T:
        result = await connection.run_sync(fn, *args)
        try:
            await connection.commit()
        except asyncio.CancelledError as error:
            if not self._listener.silent:
                raise
            raise _outcome_unknown() from error
        except (DBAPIError, *CONNECTION_ERRORS) as error:
            if isinstance(error, DBAPIError) and not _is_lost(error):
                raise  # COMMIT was refused, in words
            raise _outcome_unknown() from error
        return result

    async def _ask(self) -> None:
        """Raises when the database says no, and waits as long as it says nothing."""
        connection = await asyncpg.connect(dsn=self._dsn, timeout=STATEMENT_TIMEOUT_MS / 1000)
        try:
            await connection.fetchval("SELECT 1")
        finally:
            connection.terminate()

    async def _database_time(self) -> tuple[int, int, int, int]:
        """The database's clock, what to take from it, when it was read, and how long the answer took."""
        connection = await asyncpg.connect(dsn=self._dsn, timeout=CONNECT_TIMEOUT_S)
        try:
            asked_at = since_boot()
            now = await connection.fetchval(_NOW.text)
            trip = since_boot() - asked_at
            offset = 0
            with contextlib.suppress(asyncpg.UndefinedTableError):  # not migrated yet
                known = "SELECT value FROM setting WHERE name = $1"
                offset = int(await connection.fetchval(known, CLOCK_OFFSET) or 0)
            return now, offset, asked_at + trip // 2, trip
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)

    @asynccontextmanager
    async def _connection(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with engine.connect() as connection:
            if self._clock_checked is None or since_boot() - self._clock_checked > CLOCK_CHECK_US:
                await self._follow_database(connection)
            yield connection

    async def _follow_database(self, connection: AsyncConnection) -> None:
        """Agree with the database's clock as long as it only drifts.

        When somebody has set it, the step is written down for all nodes, so that steady time goes on as if it
        had not been. Who starts in between takes the new time for the right one until another node, which
        looks every `CLOCK_CHECK_US`, has noticed.
        """
        checked, asked_at = self._clock_checked, since_boot()
        now = (await connection.execute(_NOW)).scalar_one()
        trip = since_boot() - asked_at
        taken_at = asked_at + trip // 2
        if trip > CLOCK_TRIP_US:  # a connection that stalled: the next one looks again
            await connection.rollback()
            return
        kept = (await connection.execute(_OFFSET)).scalar_one_or_none()
        if self._clock_checked != checked:  # another task has looked meanwhile, and may have noted a step
            await connection.rollback()
            return
        offset = int(kept or 0)
        step = now - offset - (self.clock.anchor + taken_at)
        # What another node has written down without a step that this one sees: its word holds. It knew more,
        # or it was frozen, and then time goes back by as much, which ends no lease early.
        believed = abs(step + offset - self._clock_offset) <= CLOCK_STEP_US
        if abs(step) > CLOCK_STEP_US and self._clock_checked is not None and not believed:
            new = {"new": str(offset + step)}
            change = _FIRST_OFFSET if kept is None else _NEXT_OFFSET
            values = new if kept is None else {**new, "old": kept}
            noted = (await connection.execute(change, values)).rowcount == 1
            await connection.commit()
            if not noted:
                return  # another node was first: its word holds, at the next look
            log.warning("the database's clock was set", seconds=round(step / SECOND, 1))
            offset += step
        else:
            await connection.rollback()
        self.clock.follow(now - offset, taken_at=taken_at)
        self._clock_offset, self._clock_checked = offset, taken_at


CONNECTION_ERRORS: Final = (
    OSError,
    TimeoutError,
    PoolTimeout,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that ended while it was idle
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)


def _outcome_unknown() -> CatalogUnavailable:
    unknown = CatalogUnavailable(
        "the database went away while a change was being saved; send the request again", retry_after_s=2
    )
    unknown.outcome_unknown = True
    return unknown


def _heard(task: asyncio.Future[Any]) -> None:
    """Look at the outcome that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


async def _pause(run: int) -> None:
    """Wait 5–10 ms, then four times as long each time, so that a restarting server is not hammered."""
    longest_s = backoff_s(run, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S, growth=4)
    await asyncio.sleep(random.uniform(0.5, 1) * longest_s)  # noqa: S311 - jitter, not a secret


def _is_lost(error: DBAPIError) -> bool:
    """Whether the connection broke, rather than the server refusing something."""
    cause = getattr(error.orig, "__cause__", None)
    return error.connection_invalidated or isinstance(cause, CONNECTION_ERRORS)


def _translated(error: DBAPIError | asyncpg.PostgresError) -> Exception:
    state = sqlstate(error)
    if state in _FULL:
        return CatalogFull("the database can't grow: its disk is full", retry_after_s=60)
    if state == _NO_TEXT:
        return TextRefused("a text holds a NUL, which cannot be kept; leave it out")
    return by_postgresql(error) or error


def _busy(error: Exception | None) -> CatalogUnavailable:
    log.debug("database did not answer", reason=str(getattr(error, "orig", None) or error))
    if isinstance(error, RetryTransaction):
        return CatalogUnavailable(
            "others change the same rows of the database all the time; try again soon", retry_after_s=2
        )
    if isinstance(error, _OnStandby):
        return CatalogUnavailable(
            "the database takes no changes at the moment; try again soon", retry_after_s=2
        )
    return by_postgresql(error) or CatalogUnavailable("the database did not answer", retry_after_s=2)
