"""The catalog on SQLite: one writer thread, one connection for hot reads, a few threads for the rest."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Concatenate, Final, NoReturn, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import SteadyClock, boot_id
from entrepot.server.db.damage import DamageNote
from entrepot.server.db.errors import CatalogBroken, CatalogDamaged, CatalogUnavailable
from entrepot.server.db.failures import raise_translated, translated
from entrepot.server.db.refusals import by_sqlite
from entrepot.server.db.settings import CLOCK_ANCHOR, get_setting, set_setting
from entrepot.server.db.statements import HotQuery
from entrepot.server.db.walfile import WalFile
from entrepot.server.db.writer import Writer
from entrepot.server.db.writerlock import WriterLock

__all__ = ["SqliteCatalog", "create_file", "sqlite_engine"]

T = TypeVar("T")
log = get_log(__name__)

BUSY_TIMEOUT_MS: Final = 10_000
READ_THREADS: Final = 4
CACHE_KIB: Final = 8 * 1024
LOG_BYTES: Final = 8 * 1024 * 1024
"""What the log is cut to when it starts over; below this it is written in place, which costs less."""
_SYNCHRONOUS = {"NORMAL": 1, "FULL": 2}


def create_file(path: Path) -> None:
    """Make the database file readable by its owner only; SQLite gives its side files the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def sqlite_engine(
    path: Path,
    *,
    synchronous: str = "FULL",
    read_only: bool = False,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
) -> Engine:
    """An engine whose every connection has been asked whether it took the settings that safety rests on."""
    engine = create_engine(
        "sqlite://",
        creator=lambda: connect_sqlite(
            path, synchronous=synchronous, read_only=read_only, busy_timeout_ms=busy_timeout_ms
        ),
        poolclass=NullPool,
    )

    # Transactions are begun in words: `BEGIN IMMEDIATE` by whoever writes.
    @event.listens_for(engine, "connect")
    def _connected(connection: Any, record: object) -> None:  # noqa: ARG001 - the event's signature
        connection.isolation_level = None

    return engine


def _opened_log(path: Path) -> WalFile:
    """The log, so that no transaction on the event loop has to open it and wait for the disk."""
    log = WalFile(path)
    with suppress(CatalogBroken):  # there is none yet: the first transaction makes it
        log.follow()
    return log


def _without_checkpoints(connection: Any, record: object) -> None:  # noqa: ARG001 - the event's signature
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")


def connect_sqlite(
    path: Path,
    *,
    synchronous: str = "FULL",
    read_only: bool = False,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    timeout_s: float = BUSY_TIMEOUT_MS / 1000,
) -> sqlite3.Connection:
    """A driver connection, settings asserted. Raises CatalogUnavailable when the database refuses one.

    `timeout_s` is how long opening waits for a lock, `busy_timeout_ms` how long statements do.
    """
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
        timeout=timeout_s,
    )
    try:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal":
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA busy_timeout={busy_timeout_ms}")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute("PRAGMA temp_store=MEMORY")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        took = {
            "journal_mode": (mode, "wal"),
            "synchronous": (
                connection.execute("PRAGMA synchronous").fetchone()[0],
                _SYNCHRONOUS[synchronous],
            ),
            "foreign_keys": (connection.execute("PRAGMA foreign_keys").fetchone()[0], 1),
        }
    except sqlite3.Error as error:
        connection.close()
        told = by_sqlite(path, error) or CatalogUnavailable(f"can't open the database {path}: {error}")
        raise told from error
    for name, (got, wanted) in took.items():
        if got != wanted:
            connection.close()
            raise CatalogUnavailable(f"the database {path} refused {name}={wanted} (it has {got})")
    return connection


class SqliteCatalog(Catalog):
    """Catalog in one file. Any number of processes on one machine may open it."""

    dialect = "sqlite"

    def __init__(self, path: Path, *, on_broken: Callable[[str], None] | None = None) -> None:
        create_file(path)
        self.path = path
        # COMMIT leaves sync and checkpoint to the writer; SQLite's own syncs around a checkpoint stay.
        self._writing = sqlite_engine(path, synchronous="NORMAL", busy_timeout_ms=0)
        event.listen(self._writing, "connect", _without_checkpoints)
        self._readers = sqlite_engine(path, read_only=True)
        self._hot = connect_sqlite(path, read_only=True, busy_timeout_ms=0)
        self._damage = DamageNote(path)
        lock = WriterLock(path)
        self.clock = SteadyClock(self._clock_anchor(lock))
        self._writer = Writer(
            self._writing.connect, lock, _opened_log(path), on_broken=on_broken, on_damaged=self.set_read_only
        )
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="catalog-read")
        self._local = threading.local()
        self._reading: list[Connection] = []

    @property
    def broken(self) -> str | None:
        return self._writer.broken

    @property
    def read_only(self) -> str | None:
        return self._damage.reason

    def set_read_only(self, reason: str | None) -> None:
        try:
            if reason is None:
                self._damage.remove()
            elif self._damage.reason is None:
                log.error("catalog damaged, read-only from now on", reason=reason)
                self._damage.write(reason)
        except OSError as error:
            log.exception("damage of the catalog can't be noted", reason=str(error))

    async def write(
        self,
        fn: Callable[Concatenate[Connection, ...], T],
        /,
        *args: Any,
        durable: bool = True,
        brief: bool = False,
    ) -> T:
        reason = self._damage.reason
        if reason is not None:
            raise CatalogDamaged(reason)
        result: T = await self._writer.submit(fn, args, durable=durable, brief=brief)
        return result

    async def read(self, fn: Callable[Concatenate[Connection, ...], T], /, *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, fn, args)

    async def hot(self, query: HotQuery, /, **params: Any) -> list[tuple[Any, ...]]:
        compiled = query.sqlite
        try:
            return self._hot.execute(compiled.sql, compiled.arguments(params)).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                self._raise(error)
        except sqlite3.DatabaseError as error:
            self._raise(error)
        # Somebody recovers or checkpoints the file this moment: wait for it where waiting hurts nobody.
        return await self.read(_rows, compiled.sql, compiled.arguments(params))

    def data_version(self) -> int | None:
        try:
            found: tuple[int] | None = self._hot.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None
        return None if found is None else found[0]

    async def close(self) -> None:
        await self._writer.close()
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._reading:
            connection.close()
        self._hot.close()
        for engine in (self._writing, self._readers):
            engine.dispose()

    def _read(self, fn: Callable[..., T], args: tuple[Any, ...]) -> T:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._readers.connect()
            self._reading.append(connection)
        try:
            connection.exec_driver_sql("BEGIN")  # one snapshot for all that the function reads
            return fn(connection, *args)
        except DBAPIError as error:
            self._raise(error)
        finally:
            connection.rollback()

    def _raise(self, error: Exception) -> NoReturn:
        """The error for who reads; damage that is met is noted."""
        made = translated(error)
        if isinstance(made, CatalogDamaged):
            self.set_read_only(made.reason)
        raise_translated(error)

    def _clock_anchor(self, lock: WriterLock) -> int | None:
        """The anchor that this machine's first process of this boot wrote down."""
        with lock.held(), sqlite_engine(self.path).connect() as connection:
            # When a process has given up because the disk failed under the log, the next one must not write
            # behind what may be a gap: it starts with what was committed copied into the database itself.
            # A log that is copied elsewhere is that one's to copy, as it is every minute.
            if not lock.is_log_kept():
                with suppress(OperationalError):
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                raise (by_sqlite(self.path, error) or error) from error
            try:
                kept = get_setting(connection, CLOCK_ANCHOR)
            except OperationalError:
                return None  # not migrated yet
            if kept is not None:
                boot, _, anchor = kept.partition(" ")
                if boot == boot_id():
                    return int(anchor)
            fresh = SteadyClock().anchor
            if self._damage.reason is not None:
                return fresh  # nothing is written, so nobody else has to agree
            set_setting(connection, CLOCK_ANCHOR, f"{boot_id()} {fresh}")
            connection.commit()
            return fresh


def _rows(connection: Connection, sql: str, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(sql, arguments)]
