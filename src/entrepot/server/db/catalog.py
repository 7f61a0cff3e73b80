"""What a catalog is, for those who use it, and what a database has to do to be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Protocol, TypeVar

from sqlalchemy import Connection

from entrepot.server.db.clock import Clock
from entrepot.server.db.statements import HotQuery

__all__ = ["Catalog"]

T = TypeVar("T")


class Catalog(Protocol):
    """The database of one registry. Safe to use from many tasks; one for each process.

    An implementation derives from this and provides `dialect`, `clock`, `write`, `read`, `hot` and `close`.
    The rest is for a database that is a file in this process's hands; a server looks after itself.
    """

    dialect: str
    """`sqlite` or `postgresql`."""
    clock: Clock
    """The time that all processes of this catalog agree on."""

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

    async def close(self) -> None:
        """Finish what is queued and give back connections."""
        ...

    # What only a file needs

    @property
    def broken(self) -> str | None:
        """Why this process can't write any more, None while it can. It should be restarted then."""
        return None

    @property
    def read_only(self) -> str | None:
        """Why nobody can write: the database was found damaged. None while it is sound."""
        return None

    def set_read_only(self, reason: str | None) -> None:
        """Let all processes write no more, or again."""
        del reason
        return  # a default: a body without a statement would say that it is missing

    def data_version(self) -> int | None:
        """A number that is another one after anybody has committed anything; None when it can't be told.

        What was read with `hot` after one call still holds while later calls return the same number.
        """
        return None
