"""Tags of a repository, a page at a time in byte order."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.statements import HotQuery
from entrepot.server.db.tables import repo, tag
from entrepot.server.repos.errors import NameUnknown

__all__ = ["Tags"]

_REPOSITORY = HotQuery(
    select(repo.c.id).where(repo.c.name == bindparam("repository"), repo.c.deleted_at.is_(None))
)
_PAGE = HotQuery(
    select(tag.c.name)
    .where(tag.c.repo_id == bindparam("repo_id"), tag.c.name > bindparam("last"))
    .order_by(tag.c.name)
    .limit(bindparam("n"))
)
BEFORE_ALL: Final = ""


class Tags:
    """Tags of all repositories."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def list(self, repository: str, *, last: str | None = None, n: int) -> tuple[list[str], bool]:
        """At most `n` names after `last` (which need not exist), and whether more follow. Raises NameUnknown.

        `n` is bounded by the caller: the page is one query over the index, on the event loop.
        """
        found = await self._catalog.hot(_REPOSITORY, repository=repository)
        if not found:
            raise NameUnknown(repository)
        if n <= 0:
            return [], False
        rows = await self._catalog.hot(_PAGE, repo_id=found[0][0], last=last or BEFORE_ALL, n=n + 1)
        return [name for (name,) in rows[:n]], len(rows) > n
