"""Which repositories there are: the catalog a page at a time, and search. Filtered by what the caller may
see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, case, exists, func, select

from entrepot.server.access.decision.patterns import Visible
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.tables import manifest, project, repo
from entrepot.server.repos.visibility import only_visible

__all__ = ["EVERYTHING", "FoundRepository", "Repositories"]

EVERYTHING = Visible(everything=True)

# What was begun and never filled is not shown.
_HAS_CONTENT = exists().where(manifest.c.repo_id == repo.c.id, manifest.c.deleted_at.is_(None))
_NAMES = (
    select(repo.c.name)
    .join(project, project.c.id == repo.c.project_id)
    .where(repo.c.deleted_at.is_(None), project.c.deleted_at.is_(None), _HAS_CONTENT)
)


@dataclass(frozen=True, slots=True)
class FoundRepository:
    """One result of a search."""

    name: str


class Repositories:
    """All repositories."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def search(
        self, term: str, *, n: int = 25, page: int = 1, visible: Visible = EVERYTHING
    ) -> tuple[list[FoundRepository], int]:
        """One page of the repositories whose name has `term` in it, best first, and how many there are in
        all.

        An exact name comes first, then names with a component of that name, then the rest, shorter ones
        first.
        """
        return await self._catalog.read(_search, term.strip().lower(), n, page, visible)

    async def list(
        self, *, last: str | None = None, n: int, visible: Visible = EVERYTHING
    ) -> tuple[list[str], bool]:
        """At most `n` names after `last` (which need not exist) in byte order, and whether more follow."""
        if n <= 0:
            return [], False
        names = await self._catalog.read(
            _names, only_visible(_NAMES, visible), {"p_last": last or "", "p_n": n + 1}
        )
        return names[:n], len(names) > n


def _names(connection: Connection, names: Select[Any], page: dict[str, object]) -> list[str]:
    statement = names.where(repo.c.name > bindparam("p_last")).order_by(repo.c.name).limit(bindparam("p_n"))
    return list(connection.execute(statement, page).scalars())


def _search(
    connection: Connection, term: str, n: int, page: int, visible: Visible
) -> tuple[list[FoundRepository], int]:
    matching = only_visible(_NAMES, visible).where(repo.c.name.contains(term, autoescape=True))
    total = connection.execute(select(func.count()).select_from(matching.subquery())).scalar_one()
    rank = case(
        (repo.c.name == term, 0),
        (repo.c.name.endswith("/" + term, autoescape=True), 1),
        (repo.c.name.startswith(term, autoescape=True), 2),
        else_=3,
    )
    ordered = matching.order_by(rank, func.length(repo.c.name), repo.c.name).limit(n).offset((page - 1) * n)
    return [FoundRepository(name) for name in connection.execute(ordered).scalars()], total
