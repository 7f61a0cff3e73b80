"""What a catalog is, for those who use it, and which implementation a URL names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from entrepot.server.db.clock import Clock
from entrepot.server.db.errors import InvalidCatalogUrl
from entrepot.server.db.hot import HotQuery

__all__ = ["Catalog", "RetryTransaction", "open_catalog", "parse_catalog_url"]

T = TypeVar("T")
P = ParamSpec("P")


class RetryTransaction(Exception):
    """Raised by a transaction function that lost a race (a row it wanted to insert exists)."""


class Catalog(Protocol):
    """The database of one registry. Safe to use from many tasks; one for each process."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        ...

    @property
    def clock(self) -> Clock:
        """The time that all processes of this catalog agree on."""
        ...

    @property
    def broken(self) -> str | None:
        """Why this process can't write any more, None while it can. It should be restarted then."""
        ...

    @property
    def read_only(self) -> str | None:
        """Why nobody can write: the database was found damaged. None while it is sound, or looks after
        itself.
        """
        ...

    def set_read_only(self, reason: str | None) -> None:
        """Let all processes write no more, or again. Does nothing for a database that looks after itself."""
        ...

    async def write(
        self,
        fn: Callable[Concatenate[Connection, ...], T],
        /,
        *args: Any,
        durable: bool = True,
        brief: bool = False,
    ) -> T:
        """Run `fn(connection, *args)` in a transaction and return its result once that is committed.

        What `fn` raises is raised here, and nothing of it is kept. `durable=False` is for what may be
        forgotten in a power cut (uploads, leases, last-used times): committed, but not waited for on disk.
        `brief` promises that `fn` touches a handful of rows; SQLite may run it on the event loop.
        `fn` may be run several times; only the last run counts. Raises CatalogDamaged while `read_only`, and
        CatalogUnavailable; when its `outcome_unknown` is set the change may have been made. Cancelling does
        not undo: the change may still be made.
        """
        ...

    async def read(self, fn: Callable[Concatenate[Connection, ...], T], /, *args: Any) -> T:
        """Run `fn(connection, *args)` on a read-only connection, away from the event loop."""
        ...

    async def hot(self, query: HotQuery, /, **params: Any) -> list[tuple[Any, ...]]:
        """Rows of a point query, as quickly as the database can."""
        ...

    def data_version(self) -> int | None:
        """A number that is another one after anybody has committed anything; None when it can't be told.

        What was read with `hot` after one call still holds while later calls return the same number.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued and give back connections."""
        ...


def parse_catalog_url(url: str) -> URL:
    """The URL in parts. Raises InvalidCatalogUrl."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidCatalogUrl(_HOW) from error
    kind = parsed.get_backend_name() if "://" in url else ""
    if kind in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+asyncpg")
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite")
    raise InvalidCatalogUrl(_HOW)


_HOW = "the database URL must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"


def open_catalog(url: str, *, on_broken: Callable[[str], None] | None = None) -> Catalog:
    """Open the catalog that `url` names; its schema must be up to date (`check_schema`).

    `on_broken` is called, from any thread, when this process must not write any more (see `Catalog.broken`).
    Raises InvalidCatalogUrl, CatalogUnavailable.
    """
    parsed = parse_catalog_url(url)
    if parsed.get_backend_name() == "sqlite":
        from entrepot.server.db.sqlite import SqliteCatalog

        return SqliteCatalog(Path(parsed.database or ""), on_broken=on_broken)
    from entrepot.server.db.postgresql import PostgresqlCatalog

    return PostgresqlCatalog(parsed)
