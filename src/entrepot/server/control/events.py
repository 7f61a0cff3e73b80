"""The feed of events, and the tag table to begin from, as far as the caller may see."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory.projects import find_project
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, look
from entrepot.server.events import feed
from entrepot.server.events.feed import EventsGone, FeedEvent, FeedPage, TagNow

__all__ = ["EventsGone", "FeedEvent", "FeedPage", "TagNow", "TagSnapshot", "read_events", "snapshot"]


@dataclass(frozen=True, slots=True)
class TagSnapshot:
    number: int
    """Events after this one bring what follows up to date; some of them may be in it already."""
    tags: list[TagNow]


async def read_events(
    services: Services,
    actor: Actor,
    *,
    after: int,
    n: int,
    project: str | None = None,
    kinds: tuple[str, ...] = (),
) -> FeedPage:
    """Events after a number. Those of access only for who may read the audit log: the registry's, or that of
    the project which is named. Raises EventsGone, AccessDenied.
    """

    def see(t: Transaction) -> FeedPage:
        t.require(Action.LIST)
        project_id = _project_id(t, project)
        audits = project is not None and t.may(Action.READ_AUDIT, project=project)
        reader = feed.FeedReader(
            t.visible,
            audits_registry=t.may(Action.READ_SYSTEM),
            audits_project=project_id if audits else None,
        )
        return feed.read_events(t.connection, reader, after=after, n=n, project_id=project_id, kinds=kinds)

    return await look(services, actor, see)


async def snapshot(
    services: Services,
    actor: Actor,
    *,
    last: tuple[str, str] = ("", ""),
    n: int,
    project: str | None = None,
) -> TagSnapshot:
    """Tags after (repository, tag). Raises AccessDenied."""

    def see(t: Transaction) -> TagSnapshot:
        t.require(Action.LIST)
        project_id = _project_id(t, project)
        tags = feed.tags_now(t.connection, t.visible, last=last, n=n, project_id=project_id)
        return TagSnapshot(feed.read_head(t.connection)[1], tags)

    return await look(services, actor, see)


def _project_id(t: Transaction, name: str | None) -> int | None:
    """0, which none has, for one that is not there: nothing is found then, as in one that is hidden."""
    if name is None:
        return None
    found = find_project(t.connection, name)
    return 0 if found is None else found.id
