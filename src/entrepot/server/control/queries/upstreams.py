"""Repositories of other registries, as their notifications tell of them: what was told, and who sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, exists, func, insert, literal, or_, select, update

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.oci.reference import parse_repository, parse_tag
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.db.tables import project
from entrepot.server.db.tables.access import upstream_event, upstream_repo, upstream_tag

__all__ = ["apply_events", "list_upstream", "upstream_seen"]

_REMEMBER: Final = 7 * 24 * 3600 * 1_000_000
"""How long an event is known again; microseconds."""


def list_upstream(
    connection: Connection, visible: Visible, *, last: int = 0, n: int = 100, registry: str | None = None
) -> list[tuple[Any, list[str]]]:
    """Repositories other registries told us about, with their tags, by number."""
    query = (
        select(upstream_repo)
        .where(upstream_repo.c.id > last, upstream_seen(visible))
        .order_by(upstream_repo.c.id)
        .limit(n)
    )
    if registry is not None:
        query = query.where(upstream_repo.c.registry == registry)
    rows = connection.execute(query).all()
    tags: dict[int, list[str]] = {row.id: [] for row in rows}
    names = select(upstream_tag.c.repo_id, upstream_tag.c.name).where(upstream_tag.c.repo_id.in_(tags))
    for repo_id, name in connection.execute(names.order_by(upstream_tag.c.name)) if tags else ():
        tags[repo_id].append(name)
    return [(row, tags[row.id]) for row in rows]


def upstream_seen(visible: Visible) -> Any:
    """The rights are those of the project of its first component, as for what is stored here."""
    seen_project = exists().where(
        project.c.deleted_at.is_(None),
        or_(
            upstream_repo.c.name == project.c.name,
            # Compared, not matched: an underscore in a pattern stands for any character.
            func.substr(upstream_repo.c.name, 1, func.length(project.c.name) + 1)
            == project.c.name.op("||")("/"),
        ),
        visible.clause(
            project_id=project.c.id, visibility=project.c.visibility, repository=upstream_repo.c.name
        ),
    )
    return literal(value=True) if visible.everything and visible.only is None else seen_project


def apply_events(connection: Connection, registry: str, found: list[dict[str, Any]], now: int) -> int:
    """How many were new. What can't be read is passed over: the sender would repeat it for ever."""
    connection.execute(delete(upstream_event).where(upstream_event.c.at < now - _REMEMBER))
    return sum(_apply(connection, registry, event, now) for event in found)


def _apply(connection: Connection, registry: str, event: dict[str, Any], now: int) -> bool:
    target, event_id, action = event.get("target"), event.get("id"), event.get("action")
    if not isinstance(target, dict) or not isinstance(event_id, str) or len(event_id) > 200:
        return False
    try:
        repository = parse_repository(str(target.get("repository", "")))
        digest = str(Digest.parse(str(target["digest"]))) if target.get("digest") else None
        tag = parse_tag(str(target["tag"])) if target.get("tag") else None
    except InvalidInput:
        return False
    key = f"{registry}:{event_id}"
    if connection.execute(select(upstream_event.c.id).where(upstream_event.c.id == key)).first():
        return False
    connection.execute(insert(upstream_event).values(id=key, at=now))
    moment = _moment(event.get("timestamp"), now)
    actor = event.get("actor")
    by = str(actor.get("name", ""))[:255] if isinstance(actor, dict) else ""
    media_type = str(target.get("mediaType", ""))[:255]
    repo_id = _repository(connection, registry, repository, now)
    if action == "push" and tag and digest:
        _push(connection, repo_id, tag, digest, media_type, moment, by)
    elif action == "pull" and "manifest" in media_type:
        connection.execute(
            update(upstream_repo)
            .where(upstream_repo.c.id == repo_id)
            .values(pulls=upstream_repo.c.pulls + 1, seen_at=now)
        )
    elif action == "delete":
        which = upstream_tag.c.name == tag if tag else upstream_tag.c.digest == digest
        connection.execute(delete(upstream_tag).where(upstream_tag.c.repo_id == repo_id, which))
    return True


def _push(
    connection: Connection, repo_id: int, tag: str, digest: str, media_type: str, moment: int, by: str
) -> None:
    mine = (upstream_tag.c.repo_id == repo_id) & (upstream_tag.c.name == tag)
    values = {"digest": digest, "media_type": media_type, "pushed_at": moment, "pushed_by": by}
    known = connection.execute(select(upstream_tag.c.pushed_at).where(mine)).scalar_one_or_none()
    if known is None:
        connection.execute(insert(upstream_tag).values(repo_id=repo_id, name=tag, **values))
    elif known <= moment:  # an older event may arrive later
        connection.execute(update(upstream_tag).where(mine).values(values))
    connection.execute(
        update(upstream_repo).where(upstream_repo.c.id == repo_id).values(pushed_at=moment, seen_at=moment)
    )


def _repository(connection: Connection, registry: str, name: str, now: int) -> int:
    mine = (upstream_repo.c.registry == registry) & (upstream_repo.c.name == name)
    found = connection.execute(select(upstream_repo.c.id).where(mine)).scalar_one_or_none()
    if found is not None:
        return int(found)
    made = connection.execute(
        insert(upstream_repo).values(registry=registry, name=name, seen_at=now).returning(upstream_repo.c.id)
    )
    return int(made.scalar_one())


def _moment(text: Any, now: int) -> int:
    try:
        return min(now, round(datetime.fromisoformat(str(text)).timestamp() * 1_000_000))
    except (ValueError, OverflowError, OSError):  # the latter two: times before the year 1 or after 9999
        return now
