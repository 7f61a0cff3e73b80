"""Rows written beside a change, in its transaction: audit, event, tag history, usage of a project."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

from entrepot.server.access.decision.actor import Actor
from entrepot.server.db.journal import add_event
from entrepot.server.db.statements import Prepared
from entrepot.server.db.tables import project, tag_event
from entrepot.server.repos.errors import QuotaExceeded
from entrepot.server.repos.room import reserved_bytes

__all__ = ["add_usage", "write_event", "write_tag_event"]

_TAG_EVENT = Prepared(
    insert(tag_event).values(
        {
            column: bindparam(f"p_{column}")
            for column in ("repo_id", "name", "old", "new", "at", "by", "restored")
        }
    )
)
_USE = Prepared(
    update(project)
    .where(project.c.id == bindparam("p_id"))
    .values(usage_bytes=project.c.usage_bytes + bindparam("p_delta"))
    .returning(project.c.usage_bytes, project.c.quota_bytes, project.c.name)
)


def write_event(
    connection: Connection,
    kind: str,
    repository: str,
    actor: Actor,
    at: int,
    *,
    also: tuple[str, ...] = (),
    **facts: Any,
) -> None:
    """Tell of a change of content; it is there exactly if the change is."""
    payload = {
        "repository": repository,
        "by": actor.name,
        "request": actor.request_id,
        "address": actor.address,
        "at": at,
        **facts,
    }
    add_event(connection, kind, payload, at=at, repository=repository, also=also)


def write_tag_event(
    connection: Connection,
    repo_id: int,
    name: str,
    *,
    old: str | None,
    new: str | None,
    at: int,
    by: str,
    restored: bool = False,
) -> None:
    """Note a move of a tag; the history that undo and `as of` read. `restored`: put back, not pushed."""
    _TAG_EVENT.run(
        connection,
        {
            "p_repo_id": repo_id,
            "p_name": name,
            "p_old": old,
            "p_new": new,
            "p_at": at,
            "p_by": by,
            "p_restored": restored,
        },
    )


def add_usage(connection: Connection, project_id: int, delta: int, steady: int = 0) -> None:
    """Change what a project uses: the sizes of its live manifests and of the blobs its repositories link,
    each once a repository. Do it last: the row is shared by all pushes to the project.

    Raises QuotaExceeded when that and what uploads hold at the time `steady` is more than the quota; without
    the time, claims that have run out count too.
    """
    if delta == 0:
        return
    used, quota, name = _USE.rows(connection, {"p_id": project_id, "p_delta": delta})[0]
    if delta < 0 or quota is None:
        return
    if used + reserved_bytes(connection, project_id, steady) > quota:
        raise QuotaExceeded(name, quota)
