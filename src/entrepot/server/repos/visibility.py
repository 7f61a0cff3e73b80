"""What somebody may see, as a condition of SQL: one place for all lists and searches."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select

from entrepot.server.access.decision.patterns import Visible
from entrepot.server.db.tables import project, repo

__all__ = ["is_visible", "only_visible"]


def is_visible(visible: Visible, its_repo: Any = repo, its_project: Any = project) -> ColumnElement[bool]:
    """Of a query over these two tables (or aliases), joined; deleted ones are its own business."""
    return visible.clause(
        project_id=its_repo.c.project_id, visibility=its_project.c.visibility, repository=its_repo.c.name
    )


def only_visible(query: Select[Any], visible: Visible) -> Select[Any]:
    """Live repositories that may be seen, of a query that joins `repo` and `project`."""
    return query.where(repo.c.deleted_at.is_(None), project.c.deleted_at.is_(None), is_visible(visible))
