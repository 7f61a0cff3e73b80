"""Notifications of a Docker Registry: its pushes and deletes make its repositories appear in our search.

The registry sends `application/vnd.docker.distribution.events.v2+json` with the secret of a robot of ours as
its bearer token (`notifications.endpoints.headers.Authorization`). Events come at least once and in any order
across requests; each counts once, by its id.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from litestar import Request
from sqlalchemy import Connection, delete, insert, select, update

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.oci.reference import parse_repository, parse_tag
from entrepot.server.access.decision.model import Action
from entrepot.server.api.route import post
from entrepot.server.control.foreign import apart, read_object
from entrepot.server.control.services import Services
from entrepot.server.db.tables.access import upstream_event, upstream_repo, upstream_tag

__all__ = ["ROUTES", "apply_events"]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_REMEMBER: Final = 7 * 24 * 3600 * 1_000_000


@post(
    "/upstreams/{registry:str}/events",
    Action.MANAGE_UPSTREAMS,
    "Take notifications of a Docker Registry",
    tags=["upstreams"],
    status_code=204,
    request_max_body_size=MAX_BODY_BYTES,
)
async def events(services: Services, request: Request[Any, Any, Any], registry: str) -> None:
    """The body is a distribution notification envelope."""
    body = await request.body()
    if len(registry) > 255:
        raise InvalidInput("the registry's name is longer than 255 characters")
    found = (await apart(read_object, body)).get("events")
    if not isinstance(found, list):
        raise InvalidInput("the notification is no JSON, or has no events")
    await services.write(
        apply_events, registry, [event for event in found if isinstance(event, dict)], services.now
    )


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


ROUTES = [events]
