"""Point queries compiled once to the driver's own SQL, for reads that every pull makes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import asyncpg as postgresql_asyncpg
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.engine import Dialect

__all__ = ["CompiledQuery", "HotQuery"]

_POSTGRESQL: Dialect = postgresql_asyncpg.dialect()  # type: ignore[no-untyped-call]  # untyped there


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """SQL text of one driver, and the order in which it takes its parameters."""

    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]

    def arguments(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        """Positional arguments for the driver. A missing parameter is a KeyError."""
        if self.constants:
            params = {**self.constants, **params}
        return tuple([params[name] for name in self.names])


class HotQuery:
    """A SELECT with bound parameters (`bindparam`, no lists) whose columns need no conversion: text, numbers,
    bytes.

    Build it at import and pass it to `Catalog.hot`. Rows come back as tuples in the order of its columns.
    """

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement

    @functools.cached_property
    def sqlite(self) -> CompiledQuery:
        return _compile(self.statement, pysqlite.dialect(paramstyle="qmark"))

    @functools.cached_property
    def postgresql(self) -> CompiledQuery:
        return _compile(self.statement, _POSTGRESQL)


def _compile(statement: Select[Any], dialect: Dialect) -> CompiledQuery:
    compiled = statement.compile(dialect=dialect)
    names = tuple(compiled.positiontup or ())
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return CompiledQuery(str(compiled), names, constants)
