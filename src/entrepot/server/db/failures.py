"""SQLite's own failures in our words, for those who use the catalog."""

from __future__ import annotations

import sqlite3
from typing import NoReturn

from sqlalchemy.exc import DBAPIError

from entrepot.server.db.errors import CatalogBroken, CatalogDamaged, CatalogFull, CatalogUnavailable

__all__ = ["raise_translated", "translated"]

_FULL = {sqlite3.SQLITE_FULL}
_BROKEN = {sqlite3.SQLITE_IOERR}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def translated(error: BaseException) -> BaseException:
    """SQLite's own failures as CatalogUnavailable and its kinds; anything else as it is."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(original, sqlite3.Error) or isinstance(
        original, (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
    ):
        return error
    code = getattr(original, "sqlite_errorcode", None)
    if code is None or code & 0xFF in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}:
        return error  # a mistake in a statement, not the disk's
    kind = code & 0xFF
    name = getattr(original, "sqlite_errorname", "SQLITE_ERROR")
    if kind in _FULL:
        made: CatalogUnavailable = CatalogFull(
            "the database can't grow: the disk is full", hint="free space on the data disk", retry_after_s=60
        )
    elif kind in _BROKEN:
        made = CatalogBroken(
            f"the database failed: {original} ({name})", hint="check the disk", retry_after_s=5
        )
    elif kind in _DAMAGED:
        made = CatalogDamaged(f"{original} ({name})")
    else:
        made = CatalogUnavailable(f"the database is not writable now: {original} ({name})", retry_after_s=1)
    made.__cause__ = error
    return made


def raise_translated(error: Exception) -> NoReturn:
    """Raise what `translated` makes of an error."""
    made = translated(error)
    if made is error:
        raise error
    raise made from error
