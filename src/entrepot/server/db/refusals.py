"""What databases refuse, in our words: their own text says nothing to a user, and may tell too much."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from entrepot.server.db.errors import CatalogUnavailable

__all__ = ["by_postgresql", "by_sqlite", "sqlstate"]

_IS_URL_RIGHT: Final = "is catalog.url right (account, password, name of the database)?"
_WHO_WAITS: Final = (
    "on the database, SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity tells who"
)
_BY_STATE: Final = {
    # The longest prefix of PostgreSQL's five letters decides.
    "28": ("the database does not let this account in from this machine", _IS_URL_RIGHT),
    "28P01": ("the database does not let us in: wrong account or password", _IS_URL_RIGHT),
    "3D": ("the database server has no database of the name in catalog.url", _IS_URL_RIGHT),
    "40": ("others change the same rows of the database all the time; try again soon", None),
    "42501": (
        "the account of catalog.url may not do in the database what the registry has to",
        "let it own the database: ALTER DATABASE name OWNER TO account",
    ),
    "53300": (
        "the database takes no more connections; try again soon",
        "raise max_connections there, or run fewer nodes and workers",
    ),
    "53": ("the database has run out of something; try again soon", "its own log says of what"),
    "55P03": (
        "somebody else holds back such changes in the database, as when a registry moves; try again soon",
        _WHO_WAITS,
    ),
    "57014": ("the database took too long over this and gave up; try again soon", _WHO_WAITS),
    "57P": ("the database is stopping or starting; try again soon", None),
    "58": ("the database's own disk fails it; try again soon", "its own log says how"),
}
_BY_CODE: Final = {
    sqlite3.SQLITE_BUSY: (
        "another program keeps the database {path} locked",
        "close it (a shell, a copy) and try again; fuser {path} names it",
    ),
    sqlite3.SQLITE_LOCKED: ("another connection keeps the database {path} locked", "try again"),
    sqlite3.SQLITE_NOTADB: ("{path} is no SQLite database, or its beginning is damaged", "restore a backup"),
    sqlite3.SQLITE_CORRUPT: ("the database {path} is damaged", "restore a backup"),
    sqlite3.SQLITE_CANTOPEN: ("the database {path} can't be opened", "may we read and write its folder?"),
    sqlite3.SQLITE_READONLY: ("the database {path} can't be written", "may we write to it and its folder?"),
    sqlite3.SQLITE_PERM: ("the database {path} can't be written", "may we write to it and its folder?"),
    sqlite3.SQLITE_FULL: ("the database {path} can't grow: the disk is full", "free space there"),
    sqlite3.SQLITE_IOERR: ("the disk under the database {path} failed", "check the disk"),
}


def sqlstate(error: BaseException | None) -> str:
    """PostgreSQL's five letters for what went wrong; empty when the error is another's."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(original, "sqlstate", None) or "")


def by_postgresql(error: BaseException | None) -> CatalogUnavailable | None:
    """What to tell of a connection that broke or a statement that was refused; None for what is a mistake of
    ours.
    """
    state = sqlstate(error)
    for length in (5, 3, 2):
        if state[:length] in _BY_STATE:
            return _told(*_BY_STATE[state[:length]], retry_after_s=2)
    reason = _broken(error)
    if reason is None:
        return None
    return _told(reason, "is PostgreSQL running, and is its address in catalog.url right?", retry_after_s=2)


def _broken(error: BaseException | None) -> str | None:
    cause = getattr(error.orig, "__cause__", None) or error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, PoolTimeout):
        return "every connection to the database is in use; try again soon"
    if isinstance(cause, TimeoutError):
        return "the database did not answer in time; try again soon"
    if isinstance(cause, OSError):
        why = os.strerror(cause.errno).lower() if cause.errno and cause.errno > 0 else "no connection"
        return f"the database can't be reached: {why}"
    if isinstance(error, DBAPIError):
        refused = not error.connection_invalidated
    else:  # from the driver itself, which tells of the connection in class 08 or without a state
        refused = sqlstate(error)[:2] not in {"", "08"}
    if refused:
        return None
    return "the connection to the database broke; try again soon"


def by_sqlite(path: Path, error: BaseException) -> CatalogUnavailable | None:
    """What to tell of a database file that could not be used; None for what is a mistake of ours."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    if code is None or code & 0xFF not in _BY_CODE:
        return None
    message, hint = _BY_CODE[code & 0xFF]
    return _told(message.format(path=path), hint.format(path=path), retry_after_s=1)


def _told(message: str, operator_hint: str | None, *, retry_after_s: float) -> CatalogUnavailable:
    told = CatalogUnavailable(message, retry_after_s=retry_after_s)
    told.operator_hint = operator_hint
    return told
