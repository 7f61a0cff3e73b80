"""What each project uses, counted anew: the truth that the running counters are compared with."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select, update

from entrepot.server.db.tables import blob, manifest, project, repo, repo_blob

__all__ = ["recount", "wrong_counters"]

_manifests = (
    select(repo.c.project_id, func.sum(manifest.c.size).label("size"))
    .join(repo, repo.c.id == manifest.c.repo_id)
    .where(manifest.c.deleted_at.is_(None), repo.c.deleted_at.is_(None))
    .group_by(repo.c.project_id)
    .subquery()
)
_blobs = (
    select(repo.c.project_id, func.sum(blob.c.size).label("size"))
    .select_from(repo_blob)
    .join(repo, repo.c.id == repo_blob.c.repo_id)
    .join(blob, blob.c.digest == repo_blob.c.digest)
    .where(repo_blob.c.deleted_at.is_(None), repo.c.deleted_at.is_(None))
    .group_by(repo.c.project_id)
    .subquery()
)
_used = func.coalesce(_manifests.c.size, 0) + func.coalesce(_blobs.c.size, 0)
_COMPARE: Final = (
    select(project.c.id, project.c.name, project.c.usage_bytes, _used.label("used"))
    .select_from(project)
    .outerjoin(_manifests, _manifests.c.project_id == project.c.id)
    .outerjoin(_blobs, _blobs.c.project_id == project.c.id)
    .where(project.c.usage_bytes != _used)
    .order_by(project.c.id)
)


def wrong_counters(connection: Connection) -> list[tuple[str, int, int]]:
    """Projects whose counter is wrong: name, what the counter says, what is used."""
    return [(row.name, row.usage_bytes, int(row.used)) for row in connection.execute(_COMPARE)]


def recount(connection: Connection) -> int:
    """Set every wrong counter right; returns how many there were."""
    wrong = connection.execute(_COMPARE).all()
    for row in wrong:
        connection.execute(update(project).where(project.c.id == row.id).values(usage_bytes=int(row.used)))
    return len(wrong)
