"""Checks the database file itself, in the background, so that a start never waits for it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from entrepot.observability.logs import get_log
from entrepot.server.db.engine import Catalog

__all__ = ["check_integrity"]

log = get_log(__name__)
MOST: Final = 20


async def check_integrity(catalog: Catalog, *, thorough: bool = False) -> list[str]:
    """What the database says is wrong with itself, at most MOST lines; empty when nothing.

    PostgreSQL checks its pages itself (data checksums); there is nothing to ask here.
    """
    if catalog.dialect != "sqlite":
        return []
    problems = await catalog.read(_check, thorough)
    if problems:
        log.error("catalog damaged", problems=problems)
    return problems


def _check(connection: Connection, thorough: bool) -> list[str]:
    pragma = "integrity_check" if thorough else "quick_check"
    lines = [str(line) for line in connection.execute(text(f"PRAGMA {pragma}({MOST})")).scalars()]
    problems = [] if lines == ["ok"] else lines
    for table, row_id, parent, _ in connection.execute(text("PRAGMA foreign_key_check")).fetchmany(MOST):
        problems.append(f"row {row_id} of {table} refers to a row of {parent} that is not there")
    return problems
