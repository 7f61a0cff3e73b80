"""Room in a proxy project whose quota is full: what has not been pulled for longest goes.

It can be fetched again, so there is nothing to bring back: its undo window is over at once, and the next run
of collection frees the room.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, exists, func, select, update

from entrepot.server.access.decision.actor import SYSTEM
from entrepot.server.access.decision.change import allow_all
from entrepot.server.db.tables import manifest, manifest_child, project, repo
from entrepot.server.repos.manifestdelete import delete_manifest
from entrepot.server.upkeep.runner.job_table import enqueue

__all__ = ["make_room"]

MOST: Final = 50
"""Manifests that go in one transaction; it is run again when the next one finds no room."""
_AHEAD: Final = 10
"""One part in so many of the quota is made free at least."""
_parent = manifest.alias("parent")
_OLDEST: Final = (
    select(manifest.c.id, repo.c.name, manifest.c.digest, manifest.c.total_size)
    .join(repo, repo.c.id == manifest.c.repo_id)
    .where(
        repo.c.project_id == bindparam("p_project"),
        repo.c.proxied.is_(True),
        repo.c.deleted_at.is_(None),
        manifest.c.deleted_at.is_(None),
        # A platform goes after the index that needs it.
        ~exists().where(
            manifest_child.c.repo_id == manifest.c.repo_id,
            manifest_child.c.digest == manifest.c.digest,
            _parent.c.id == manifest_child.c.manifest_id,
            _parent.c.deleted_at.is_(None),
        ),
    )
    .order_by(func.coalesce(manifest.c.pulled_at, manifest.c.pushed_at), manifest.c.id)
    .limit(MOST)
)
_GONE_FOR_GOOD: Final = (
    update(manifest).where(manifest.c.id == bindparam("p_id")).values(deleted_at=bindparam("p_at"))
)


def make_room(
    connection: Connection, project_id: int, wanted: int, now: int, steady: int, undo_window: int
) -> int:
    """Delete what was pulled longest ago until some `wanted` bytes are free after the next collection, which
    is asked for. Returns how many manifests went. 0 where more is wanted than the quota has.
    """
    quota = connection.execute(select(project.c.quota_bytes).where(project.c.id == project_id)).scalar()
    if quota is None or wanted > quota:
        return 0
    wanted = max(wanted, quota // _AHEAD)
    gone = freed = 0
    for key, name, digest, size in connection.execute(_OLDEST, {"p_project": project_id}).all():
        if freed >= wanted:
            break
        delete_manifest(connection, name, digest, SYSTEM, allow_all, now, steady)
        connection.execute(_GONE_FOR_GOOD, {"p_id": key, "p_at": steady - undo_window - 1})
        gone, freed = gone + 1, freed + size
    if gone:
        enqueue(connection, "gc", key="full", payload={}, run_at=steady, now=steady, by=SYSTEM.name)
    return gone
