"""Which repositories there are: the catalog a page at a time, and search. Filtered by what the caller may
see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    true,
)

from entrepot.server.access.decision.patterns import Visible
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.tables import manifest, project, repo
from entrepot.server.db.tables.access import repo_profile
from entrepot.server.repos.visibility import only_visible

__all__ = [
    "EVERYTHING",
    "FoundRepository",
    "Repositories",
    "best_first",
    "in_name",
    "search_words",
    "word_in",
]

EVERYTHING = Visible(everything=True)
MAX_WORDS: Final = 8
"""Of a search; those that follow are ignored."""

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
    description: str


class Repositories:
    """All repositories."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def search(
        self, term: str, *, n: int = 25, page: int = 1, visible: Visible = EVERYTHING
    ) -> tuple[list[FoundRepository], int]:
        """One page of the repositories that have each word of `term` in their name or description, best
        first (see `best_first`), and how many there are in all.
        """
        return await self._catalog.read(_search, search_words(term), n, page, visible)

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


def search_words(term: str) -> list[str]:
    """In small letters."""
    return term.lower().split()[:MAX_WORDS]


def in_name(word: str) -> ColumnElement[bool]:
    return repo.c.name.contains(word, autoescape=True)


def word_in(word: str) -> ColumnElement[bool]:
    """In the name or, in any case, in the description: of all letters on PostgreSQL, of ASCII on SQLite."""
    text = func.lower(func.coalesce(repo_profile.c.description, ""))
    return or_(in_name(word), text.contains(word, autoescape=True))


def best_first(words: list[str]) -> tuple[ColumnElement[Any], ...]:
    """To order by. The exact name (`acme web` means `acme/web`), then names with a component of that name,
    those that begin so, those that have all words, and what only its description finds; shorter ones first.
    """
    name = "/".join(words)
    rank = case(
        (repo.c.name == name, 0),
        (repo.c.name.endswith("/" + name, autoescape=True), 1),
        (repo.c.name.startswith(name, autoescape=True), 2),
        (repo.c.name.contains("/" + name, autoescape=True), 3),
        (and_(true(), *(in_name(word) for word in words)), 4),
        else_=5,
    )
    return rank, func.length(repo.c.name), repo.c.name


def _search(
    connection: Connection, words: list[str], n: int, page: int, visible: Visible
) -> tuple[list[FoundRepository], int]:
    matching = (
        only_visible(_NAMES, visible)
        .add_columns(func.coalesce(repo_profile.c.description, ""))
        .outerjoin(repo_profile, repo_profile.c.repo_id == repo.c.id)
        .where(*(word_in(word) for word in words))
    )
    total = connection.execute(select(func.count()).select_from(matching.subquery())).scalar_one()
    ordered = matching.order_by(*best_first(words)).limit(n).offset((page - 1) * n)
    return [FoundRepository(name, text) for name, text in connection.execute(ordered)], total
