"""`/events`: the feed, and the tag table to begin from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar.params import Parameter

from entrepot.server.access.decision.model import Action
from entrepot.server.api.paging import DEFAULT_N, N
from entrepot.server.api.route import get
from entrepot.server.control import events
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller

__all__ = ["ROUTES"]

Project = Annotated[str | None, Parameter(query="project", max_length=255, description="Of this one alone.")]


class FeedEventView(msgspec.Struct, kw_only=True):
    """Something that happened."""

    number: int
    """Counts up by one: none is missing from the feed, though some may be hidden from this caller."""
    kind: str
    kinds: list[str]
    """All that it is: a push that made a tag is a `create-tag`, too."""
    repository: str | None
    """Its name, or a project's."""
    at: datetime
    facts: dict[str, Any]
    """What is told of this kind."""


class Events(msgspec.Struct, kw_only=True):
    """A page of the feed."""

    events: list[FeedEventView]
    next: int
    """Give it as `after` to go on; higher than the last event when what follows that is hidden."""
    newest: int


class ListedTag(msgspec.Struct, kw_only=True):
    repository_id: int
    """As in the facts of events: a repository made later under the same name has another one."""
    repository: str
    tag: str
    digest: str


class TagTable(msgspec.Struct, kw_only=True):
    """A page of the tag table."""

    number: int
    """Of the first page: follow the feed after it. What was changed meanwhile comes once more."""
    tags: list[ListedTag]
    next: str | None
    """Give it as `last` to go on; null on the last page."""


@get("/events", Action.LIST, "Read what happened", tags=["events"], operation_id="ReadEvents")
async def read_events(
    services: Services,
    caller: Caller,
    n: N = DEFAULT_N,
    after: Annotated[int, Parameter(query="after", ge=0, le=2**62, description="After this number.")] = 0,
    project: Project = None,
    kind: Annotated[
        list[str] | None, Parameter(query="kind", max_items=50, description="Of these kinds alone.")
    ] = None,
) -> Events:
    """In the order of their numbers. 410 when events after `after` are not kept any more."""
    page = await events.read_events(
        services, caller, after=after, n=n, project=project, kinds=tuple(kind or ())
    )
    return Events(
        events=[
            FeedEventView(
                number=one.number,
                kind=one.kind,
                kinds=list(one.kinds),
                repository=one.repository,
                at=datetime.fromtimestamp(one.at / 1_000_000, UTC),
                facts=dict(one.facts),
            )
            for one in page.events
        ],
        next=page.next,
        newest=page.newest,
    )


@get("/events/snapshot", Action.LIST, "Read the tag table", tags=["events"])
async def snapshot(
    services: Services,
    caller: Caller,
    n: N = DEFAULT_N,
    last: Annotated[str, Parameter(query="last", max_length=512, description="`next` of a page.")] = "",
    project: Project = None,
) -> TagTable:
    """What to begin from when the first events are not kept any more."""
    repository, _, tag = last.partition(":")
    found = await events.snapshot(services, caller, last=(repository, tag), n=n + 1, project=project)
    tags = [
        ListedTag(repository_id=t.repository_id, repository=t.repository, tag=t.tag, digest=t.digest)
        for t in found.tags
    ]
    following = f"{tags[n - 1].repository}:{tags[n - 1].tag}" if len(tags) > n else None
    return TagTable(number=found.number, tags=tags[:n], next=following)


ROUTES = [read_events, snapshot]
