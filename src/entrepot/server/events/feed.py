"""Reading the feed: events after a number, and the tag table to begin from. One filter says who sees what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from sqlalchemy import ColumnElement, Connection, and_, false, or_, select

from entrepot.errors import EntrepotError
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.db.tables import event, event_head, project, repo, tag
from entrepot.server.repos.visibility import is_visible

__all__ = [
    "EventsGone",
    "FeedEvent",
    "FeedPage",
    "FeedReader",
    "TagNow",
    "read_events",
    "read_head",
    "tags_now",
]

SCANNED: Final = 5_000
"""Events looked at for one page: a reader who sees little of a busy registry costs no more than another."""


class EventsGone(EntrepotError):
    """What was asked for is not in the feed any more."""

    code: ClassVar[str] = "events-gone"

    def __init__(self, oldest: int, newest: int) -> None:
        super().__init__(
            f"the feed holds events {oldest} to {newest}",
            hint="begin again with /api/v1/events/snapshot",
        )
        self.oldest = oldest
        self.newest = newest


@dataclass(frozen=True, slots=True)
class FeedEvent:
    number: int
    kind: str
    kinds: tuple[str, ...]
    """All that it is: a push may be a `create-tag`, too."""
    repository: str | None
    at: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FeedPage:
    events: list[FeedEvent]
    next: int
    """To go on after."""
    newest: int


@dataclass(frozen=True, slots=True)
class FeedReader:
    """What somebody may read."""

    visible: Visible
    audits_registry: bool = False
    audits_project: int | None = None


@dataclass(frozen=True, slots=True)
class TagNow:
    repository_id: int
    repository: str
    tag: str
    digest: str


def read_head(connection: Connection) -> tuple[int, int]:
    """(oldest, newest) number; (1, 0) before the first event."""
    found = connection.execute(select(event_head.c.oldest, event_head.c.newest)).one_or_none()
    return (1, 0) if found is None else (found.oldest, found.newest)


def read_events(
    connection: Connection,
    reader: FeedReader,
    *,
    after: int,
    n: int,
    project_id: int | None = None,
    kinds: tuple[str, ...] = (),
) -> FeedPage:
    """At most `n` events. Raises EventsGone when some after `after` are forgotten, or it is no number of
    this feed (the registry was put back to an earlier backup).
    """
    oldest, newest = read_head(connection)
    if after < oldest - 1 or after > newest:
        raise EventsGone(oldest, newest)
    last = min(newest, after + SCANNED)
    query = (
        select(event)
        .join(project, project.c.id == event.c.project_id, isouter=True)
        .where(event.c.number > after, event.c.number <= last, _may_read(reader))
        .order_by(event.c.number)
        .limit(n)
    )
    if project_id is not None:
        query = query.where(event.c.project_id == project_id)
    if kinds:
        query = query.where(or_(*(event.c.kinds.contains(f" {kind} ", autoescape=True) for kind in kinds)))
    found = [_event(row) for row in connection.execute(query)]
    return FeedPage(found, found[-1].number if len(found) == n else last, newest)


def tags_now(
    connection: Connection, visible: Visible, *, last: tuple[str, str], n: int, project_id: int | None = None
) -> list[TagNow]:
    """The tag table after (repository, tag), in byte order."""
    query = (
        select(repo.c.id, repo.c.name.label("repository"), tag.c.name, tag.c.digest)
        .join(repo, repo.c.id == tag.c.repo_id)
        .join(project, project.c.id == repo.c.project_id)
        .where(
            repo.c.deleted_at.is_(None),
            project.c.deleted_at.is_(None),
            is_visible(visible),
            or_(repo.c.name > last[0], and_(repo.c.name == last[0], tag.c.name > last[1])),
        )
        .order_by(repo.c.name, tag.c.name)
        .limit(n)
    )
    if project_id is not None:
        query = query.where(repo.c.project_id == project_id)
    return [TagNow(*row) for row in connection.execute(query)]


def _may_read(reader: FeedReader) -> ColumnElement[bool]:
    seen = reader.visible.clause(
        project_id=project.c.id, visibility=project.c.visibility, repository=event.c.repository
    )
    # Of a deleted project, whoever sees everything still sees what was; nobody else does.
    there = or_(project.c.deleted_at.is_(None), event.c.project_id.is_(None))
    of_repository = and_(event.c.audience == "repository", seen)
    if not reader.audits_registry:
        of_repository = and_(of_repository, project.c.id.is_not(None), there)
    of_project = false() if reader.audits_project is None else event.c.project_id == reader.audits_project
    if reader.audits_registry:
        return or_(of_repository, event.c.audience != "repository")
    return or_(of_repository, and_(event.c.audience == "project", of_project))


def _event(row: Any) -> FeedEvent:
    # Where a request came from is for those who read the audit log.
    private = {"request", "address"} if row.audience == "repository" else set()
    facts = {key: value for key, value in json.loads(row.payload).items() if key not in private}
    for key in ("repository", "at"):
        facts.pop(key, None)
    return FeedEvent(row.number, row.kind, tuple(row.kinds.split()), row.repository, row.at, facts)
