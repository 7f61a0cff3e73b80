"""Tags: listed, looked at, deleted, put back; and where they have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.errors import InvalidInput, NotFound
from entrepot.oci.digest import Digest
from entrepot.oci.reference import TagName
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.queries import content, lists, moves
from entrepot.server.control.queries.content import TagRow
from entrepot.server.control.queries.lists import TagOrder, TagPage
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look
from entrepot.server.repos.history import FOREVER, TagEvent, events_of_tag, manifest_at
from entrepot.server.repos.history import restore_tag as restore
from entrepot.server.repos.manifestdelete import delete_tag as delete

__all__ = [
    "MAX_CHOSEN",
    "Deleted",
    "TagDetails",
    "TagEvent",
    "TagHistory",
    "TagOrder",
    "TagPage",
    "TagRow",
    "delete_tags",
    "find_tag",
    "history_of_tag",
    "list_deleted_tags",
    "list_tags",
    "page_of_tags",
    "put_back",
    "restore_tag",
    "show_tag",
    "undo_deletion",
]

MAX_CHOSEN = 500
"""Tags deleted, or brought back, in one transaction."""


@dataclass(frozen=True, slots=True)
class TagDetails:
    row: TagRow
    unique_bytes: int
    """What deleting it would free in the end."""
    shared_bytes: int
    """What other tags, or other repositories that the actor sees, hold too."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """Numbers of the events of deleted tags, for taking it back."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class TagHistory:
    events: list[TagEvent]
    """Newest first."""
    more: bool
    kept: frozenset[str]
    """Of the digests in them, those that have not been collected."""
    present: str | None
    """What the tag is now."""


async def list_tags(
    services: Services, actor: Actor, repository: str, *, last: str = "", n: int = 100, contains: str = ""
) -> list[TagRow]:
    """By name, after `last`. Raises NotFound."""

    def see(t: Transaction) -> list[TagRow]:
        return content.list_tags(t.connection, _repository(t, repository), last=last, n=n, contains=contains)

    return await look(services, actor, see)


async def page_of_tags(
    services: Services,
    actor: Actor,
    repository: str,
    *,
    order: TagOrder = "pushed",
    descending: bool = True,
    contains: str = "",
    offset: int = 0,
    n: int = 50,
) -> TagPage:
    """Raises NotFound."""

    def see(t: Transaction) -> TagPage:
        return lists.page_of_tags(
            t.connection,
            _repository(t, repository),
            order=order,
            descending=descending,
            contains=contains,
            offset=offset,
            n=n,
        )

    return await look(services, actor, see)


async def find_tag(services: Services, actor: Actor, repository: str, name: str) -> TagRow:
    """For who may pull what it points to. Raises NotFound."""

    def see(t: Transaction) -> TagRow:
        t.require(Action.PULL, repository=repository)
        return content.get_tag(t.connection, content.get_repository(t.connection, repository).id, name)

    return await look(services, actor, see)


async def show_tag(services: Services, actor: Actor, repository: str, name: str) -> TagDetails:
    """Raises NotFound."""

    def see(t: Transaction) -> TagDetails:
        repo_id = _repository(t, repository)
        found = content.get_tag(t.connection, repo_id, name)
        tags = content.tags_on(t.connection, repo_id, [found.digest])[found.digest]
        unique, shared = content.tag_sizes(t.connection, repo_id, found.digest, t.visible, tags=tags)
        return TagDetails(found, unique, shared)

    return await look(services, actor, see)


async def list_deleted_tags(services: Services, actor: Actor, repository: str) -> list[Any]:
    """Those that can be brought back; none for who may not. Raises NotFound."""

    def see(t: Transaction) -> list[Any]:
        repo_id = _repository(t, repository)
        if not t.may(Action.RESTORE, repository=repository):
            return []
        return lists.list_deleted_tags(t.connection, repo_id)

    return await look(services, actor, see)


async def delete_tags(services: Services, actor: Actor, repository: str, names: Sequence[TagName]) -> Deleted:
    """All of them or none; their manifests stay. Raises NotFound, Denied, InvalidInput (too many)."""
    if len(names) > MAX_CHOSEN:
        raise InvalidInput(f"{len(names)} tags are chosen; at most {MAX_CHOSEN} go at once")

    def do(t: Transaction) -> Deleted:
        permit = t.permit
        for name in names:
            delete(t.connection, repository, name, t.actor, permit, t.now, t.steady)
        repo_id = content.get_repository(t.connection, repository).id
        numbers = moves.last_deletions(t.connection, repo_id, len(names))
        return Deleted(numbers[0], numbers[-1])

    return await change(services, actor, do)


async def undo_deletion(services: Services, actor: Actor, repository: str, what: Deleted) -> int:
    """Tags deleted in these events come back; one that has a new meaning by now is left alone. How many came.

    Raises NotFound, Denied, InvalidInput (no such events).
    """
    if not 0 < what.first <= what.last < what.first + 100 * MAX_CHOSEN:
        raise InvalidInput("there is nothing to take back here")

    def do(t: Transaction) -> int:
        repo_id = _repository(t, repository)
        lost = moves.deleted_between(t.connection, repo_id, what.first, what.last)[:MAX_CHOSEN]
        present = moves.names_among(t.connection, repo_id, [name for name, _digest in lost])
        gone = [(name, digest) for name, digest in lost if name not in present]
        permit = t.permit
        for name, digest in gone:
            restore(t.connection, repository, name, digest, t.actor, permit, t.now, t.steady)
        return len(gone)

    return await change(services, actor, do)


async def history_of_tag(
    services: Services, actor: Actor, repository: str, name: str, *, before: int = 0, n: int = 50
) -> TagHistory:
    """The last `n` moves, before the event `before`. Raises NotFound."""

    def see(t: Transaction) -> TagHistory:
        repo_id = _repository(t, repository)
        events, more = events_of_tag(t.connection, repository, name, before or FOREVER, n)
        digests = {digest for event in events for digest in (event.old, event.new) if digest}
        kept = frozenset(moves.kept_among(t.connection, repo_id, digests))
        return TagHistory(events, more, kept, moves.present(t.connection, repo_id, name))

    return await look(services, actor, see)


async def put_back(
    services: Services,
    actor: Actor,
    repository: str,
    name: TagName,
    *,
    digest: Digest | None = None,
    at: int | None = None,
) -> TagRow:
    """To `digest`, or to what the tag was at a time, or to what it was before. Raises NotFound, Denied."""

    def do(t: Transaction) -> TagRow:
        wanted = str(digest) if digest is not None else _earlier(t, repository, name, at)
        restore(t.connection, repository, name, wanted, t.actor, t.permit, t.now, t.steady)
        repo_id = content.get_repository(t.connection, repository).id
        return content.get_tag(t.connection, repo_id, name)

    return await change(services, actor, do)


async def restore_tag(
    services: Services, actor: Actor, repository: str, name: TagName, digest: Digest
) -> str | None:
    """Point a tag to something it pointed to before. Returns what it was until now.

    Raises NotFound, Denied.
    """

    def do(t: Transaction) -> str | None:
        repo_id = _repository(t, repository)
        if not moves.was(t.connection, repo_id, name, str(digest)):
            raise NotFound(f"{repository}:{name} never was {digest.short}")
        return restore(t.connection, repository, name, str(digest), t.actor, t.permit, t.now, t.steady)

    return await change(services, actor, do)


def _repository(t: Transaction, name: str) -> int:
    """Its id, for who may read it. Raises NotFound."""
    t.require(Action.READ, repository=name)
    return content.get_repository(t.connection, name).id


def _earlier(t: Transaction, repository: str, name: str, at: int | None) -> str:
    t.require(Action.READ, repository=repository)
    if at is not None:
        found = manifest_at(t.connection, repository, name, at)
        if found is None:
            raise NotFound(f"{repository}:{name} was nothing then, or that has been collected")
        return str(found.digest)
    events, _more = events_of_tag(t.connection, repository, name, FOREVER, 1)
    if not events or events[0].old is None:
        raise NotFound(f"{repository}:{name} has no earlier state")
    return events[0].old
