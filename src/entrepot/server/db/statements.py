"""Statements compiled once to the driver's own SQL, for what every pull and every push runs.

SQLAlchemy describes them; running them through it costs five times what SQLite itself needs for a small one.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, Delete, Insert, Select, Text, Update, bindparam
from sqlalchemy.dialects.postgresql import asyncpg as postgresql_asyncpg
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

__all__ = [
    "INTEGRITY_ERRORS",
    "CompiledQuery",
    "HotQuery",
    "Prepared",
    "is_foreign_key_violation",
    "is_unique_violation",
    "one_of",
]

_POSTGRESQL: Dialect = postgresql_asyncpg.dialect()  # type: ignore[no-untyped-call]  # untyped there
_SQLITE: Dialect = pysqlite.dialect(paramstyle="qmark")

Statement = Select[Any] | Insert | Update | Delete
Params = Mapping[str, Any]
INTEGRITY_ERRORS = (sqlite3.IntegrityError, IntegrityError)
"""What a broken constraint is raised as."""


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """SQL text of one driver, and the order in which it takes its parameters."""

    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]

    def arguments(self, params: Params) -> tuple[Any, ...]:
        """Positional arguments for the driver. A missing parameter is a KeyError."""
        if self.constants:
            params = {**self.constants, **params}
        return tuple([params[name] for name in self.names])


class _Compiled:
    def __init__(self, statement: Statement) -> None:
        self.statement = statement

    @functools.cached_property
    def sqlite(self) -> CompiledQuery:
        return _compile(self.statement, _SQLITE)

    @functools.cached_property
    def postgresql(self) -> CompiledQuery:
        return _compile(self.statement, _POSTGRESQL)


class HotQuery(_Compiled):
    """A SELECT with bound parameters (`bindparam`, no lists) whose columns need no conversion: text, numbers,
    bytes.

    Build it at import and pass it to `Catalog.hot`. Rows come back as tuples in the order of its columns.
    """

    statement: Select[Any]


class Prepared(_Compiled):
    """A statement for use inside a transaction function. Parameters and columns as for HotQuery; lists of
    text with `one_of`.

    Driver errors of SQLite come as they are (`sqlite3.IntegrityError`), those of PostgreSQL in SQLAlchemy's
    classes; `is_unique_violation` and `is_foreign_key_violation` know both.
    """

    def rows(self, connection: Connection, params: Params) -> list[tuple[Any, ...]]:
        """All rows."""
        if connection.dialect.name == "sqlite":
            compiled = self.sqlite
            return _raw(connection).execute(compiled.sql, _listless(compiled.arguments(params))).fetchall()
        compiled = self.postgresql
        found = connection.exec_driver_sql(compiled.sql, compiled.arguments(params))
        return [tuple(row) for row in found] if found.returns_rows else []

    def row(self, connection: Connection, params: Params) -> tuple[Any, ...] | None:
        """The first row, None when there is none."""
        rows = self.rows(connection, params)
        return rows[0] if rows else None

    def value(self, connection: Connection, params: Params) -> Any:
        """The first column of the first row, None when there is none."""
        rows = self.rows(connection, params)
        return rows[0][0] if rows else None

    def run(self, connection: Connection, params: Params) -> int:
        """Change rows; returns how many."""
        if connection.dialect.name == "sqlite":
            compiled = self.sqlite
            return _raw(connection).execute(compiled.sql, _listless(compiled.arguments(params))).rowcount
        compiled = self.postgresql
        return connection.exec_driver_sql(compiled.sql, compiled.arguments(params)).rowcount

    def run_each(self, connection: Connection, params: Sequence[Params]) -> None:
        """Run once for each set of parameters."""
        if not params:
            return
        if connection.dialect.name == "sqlite":
            compiled = self.sqlite
            _raw(connection).executemany(compiled.sql, [compiled.arguments(one) for one in params])
        else:
            compiled = self.postgresql
            connection.exec_driver_sql(compiled.sql, [compiled.arguments(one) for one in params])


class one_of(ColumnElement[bool]):  # noqa: N801 - reads as the operator it is
    """`column` is one of the texts in the list parameter `name`; the same SQL for any length."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[str], name: str) -> None:
        self.column = column
        self.name = name


@compiles(one_of, "sqlite")
def _one_of_sqlite(element: one_of, compiler: SQLCompiler, **kw: Any) -> str:
    column = compiler.process(element.column, **kw)
    given = compiler.process(bindparam(element.name, type_=Text), **kw)
    return f"{column} IN (SELECT value FROM json_each({given}))"  # noqa: S608 - made of compiled parts


@compiles(one_of, "postgresql")
def _one_of_postgresql(element: one_of, compiler: SQLCompiler, **kw: Any) -> str:
    column = compiler.process(element.column, **kw)
    given = compiler.process(bindparam(element.name, type_=ARRAY(Text)), **kw)
    return f"{column} = ANY({given})"


def _compile(statement: Statement, dialect: Dialect) -> CompiledQuery:
    if isinstance(statement, Insert):
        statement = statement.inline()  # without a RETURNING that nobody asked for
    compiled = statement.compile(dialect=dialect)
    names = tuple(compiled.positiontup or ())
    constants = {name: bound.effective_value for name, bound in compiled.binds.items() if not bound.required}
    return CompiledQuery(str(compiled), names, constants)


def _raw(connection: Connection) -> sqlite3.Connection:
    return connection.connection.dbapi_connection  # type: ignore[return-value]  # the driver's own


def _listless(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Lists as the JSON text that `json_each` takes."""
    for argument in arguments:
        if type(argument) is list:
            return tuple([json.dumps(one) if type(one) is list else one for one in arguments])
    return arguments


def is_unique_violation(error: Exception) -> bool:
    """Whether a row with that key was there already."""
    return _violates(error, "23505", {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"})


def is_foreign_key_violation(error: Exception) -> bool:
    """Whether a row is referred to that is not there, or is still referred to."""
    return _violates(error, "23503", {"SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_CONSTRAINT_TRIGGER"})


def _violates(error: Exception, sqlstate: str, names: set[str]) -> bool:
    original = getattr(error, "orig", None) or error
    return (
        getattr(original, "sqlstate", None) == sqlstate
        or getattr(original, "sqlite_errorname", None) in names
    )
