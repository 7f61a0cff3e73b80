"""Repositories: found, looked at, described, starred."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import PermitRefused
from entrepot.server.access.decision.model import Action, PrincipalKind
from entrepot.server.access.directory.projects import get_project
from entrepot.server.control.queries import content, lists
from entrepot.server.control.queries import profiles as rows
from entrepot.server.control.queries.content import ListedRepository
from entrepot.server.control.queries.lists import Move, RepositoryOrder
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look
from entrepot.server.repos.uploads.arrivals import Arrival

__all__ = [
    "Arrival",
    "ListedRepository",
    "Move",
    "Profile",
    "RepositoryDetails",
    "RepositoryOrder",
    "RepositoryPage",
    "biggest_repositories",
    "change_profile",
    "count_labels",
    "list_deleted_repositories",
    "list_moves",
    "list_repositories",
    "list_uploads",
    "page_of_repositories",
    "set_star",
    "show_profile",
    "show_repository",
]


@dataclass(frozen=True, slots=True)
class Profile:
    """What people wrote about a repository."""

    description: str
    readme: str
    version: int
    """0 while nothing was written."""


@dataclass(frozen=True, slots=True)
class RepositoryDetails:
    row: ListedRepository
    profile: Profile
    visibility: str
    """Its project's."""
    size_bytes: int
    shared_bytes: int
    """Of that, what other repositories that the actor sees hold too."""
    starred: bool
    """By the actor."""


@dataclass(frozen=True, slots=True)
class RepositoryPage:
    rows: list[ListedRepository]
    total: int
    """Of all pages."""
    is_empty: bool
    """Nothing would be there without the filters either."""


async def list_repositories(
    services: Services,
    actor: Actor,
    *,
    last: str = "",
    n: int = 100,
    project: str | None = None,
    label: str | None = None,
    starred: bool = False,
) -> list[ListedRepository]:
    """By name, after `last`; those the actor may see; with `starred` those that they have starred."""

    def see(t: Transaction) -> list[ListedRepository]:
        t.require(Action.SEARCH)
        return content.list_repositories(
            t.connection,
            t.visible,
            last=last,
            n=n,
            project_name=project,
            label=label,
            starred_by=t.actor.principal.id if starred else None,
        )

    return await look(services, actor, see)


async def page_of_repositories(
    services: Services,
    actor: Actor,
    *,
    order: RepositoryOrder,
    offset: int,
    n: int,
    project: str | None = None,
    label: str = "",
    starred: bool = False,
    contains: str = "",
) -> RepositoryPage:
    """Those the actor may see. A project of which they see nothing is asked about: may they know of it?

    Raises InvalidCredentials, AccessDenied.
    """

    def see(t: Transaction) -> RepositoryPage:
        t.require(Action.SEARCH)
        visible = t.visible
        chosen: dict[str, Any] = {
            "project_name": project,
            "label": label,
            "starred_by": t.actor.principal.id if starred else None,
            "contains": contains,
        }
        found = lists.page_of_repositories(t.connection, visible, order=order, offset=offset, n=n, **chosen)
        total = lists.count_repositories(t.connection, visible, **chosen)
        is_empty = not total
        if is_empty and (label or starred or contains):
            is_empty = not lists.count_repositories(t.connection, visible, project_name=project)
        if is_empty and project is not None:
            t.require(Action.READ, project=project)
        return RepositoryPage(found, total, is_empty)

    return await look(services, actor, see)


async def show_repository(services: Services, actor: Actor, name: str) -> RepositoryDetails:
    """Raises NotFound."""

    def see(t: Transaction) -> RepositoryDetails:
        t.require(Action.READ, repository=name)
        return _details(t, name)

    return await look(services, actor, see)


async def show_profile(services: Services, actor: Actor, name: str) -> Profile:
    """Raises NotFound."""

    def see(t: Transaction) -> Profile:
        t.require(Action.READ, repository=name)
        return Profile(*rows.get_profile(t.connection, content.get_repository(t.connection, name).id))

    return await look(services, actor, see)


async def change_profile(
    services: Services,
    actor: Actor,
    name: str,
    *,
    description: str | None = None,
    readme: str | None = None,
    labels: Iterable[str] | None = None,
    expected_version: int | None = None,
) -> RepositoryDetails:
    """None leaves a field as it is. Raises NotFound, VersionMismatch, InvalidInput (a label)."""

    def do(t: Transaction) -> RepositoryDetails:
        t.require(Action.EDIT_REPOSITORY, repository=name)
        row = content.get_repository(t.connection, name)
        rows.change_profile(
            t.connection,
            t.actor,
            row.id,
            row.name,
            now=t.now,
            description=description,
            readme=readme,
            labels=labels,
            expected_version=expected_version,
        )
        return _details(t, name)

    return await change(services, actor, do)


async def set_star(services: Services, actor: Actor, name: str, *, starred: bool) -> None:
    """Stars are a user's own bookmarks. Safe to repeat. Raises NotFound, AccessDenied."""

    def do(t: Transaction) -> None:
        t.require(Action.READ, repository=name)
        t.require(Action.MANAGE_SELF)  # it is their account that it changes
        if t.actor.principal.kind is not PrincipalKind.USER:
            raise PermitRefused("stars are for users")
        row = content.get_repository(t.connection, name)
        rows.set_star(t.connection, row.id, t.actor.principal.id, starred=starred, now=t.now)

    await change(services, actor, do)


async def count_labels(services: Services, actor: Actor) -> list[tuple[str, int]]:
    """Labels with how many repositories that the actor sees carry them."""

    def see(t: Transaction) -> list[tuple[str, int]]:
        t.require(Action.SEARCH)
        return content.count_labels(t.connection, t.visible)

    return await look(services, actor, see)


async def list_moves(
    services: Services, actor: Actor, *, n: int, repository: str | None = None, before: int = 0
) -> list[tuple[int, Move]]:
    """What happened to tags lately, newest first, each with its number; of one repository, or of all that the
    actor sees. Raises NotFound."""

    def see(t: Transaction) -> list[tuple[int, Move]]:
        if repository is None:
            t.require(Action.SEARCH)
            return lists.list_moves(t.connection, t.visible, n=n)
        t.require(Action.READ, repository=repository)
        repo_id = content.get_repository(t.connection, repository).id
        return lists.list_moves(t.connection, t.visible, n=n, repo_id=repo_id, before=before)

    return await look(services, actor, see)


async def list_uploads(services: Services, actor: Actor, name: str) -> list[Arrival]:
    """What is on its way into a repository. Raises NotFound."""

    def see(t: Transaction) -> int:
        t.require(Action.PUSH, repository=name)
        return content.get_repository(t.connection, name).id

    return await services.under_way.of_repository(await look(services, actor, see))


async def list_deleted_repositories(services: Services, actor: Actor, project: str) -> list[Any]:
    """Those of a project that can be brought back; none for who may not. Raises Unknown."""

    def see(t: Transaction) -> list[Any]:
        if not t.may(Action.RESTORE, project=project):
            return []
        return lists.list_deleted_repositories(t.connection, get_project(t.connection, project).id)

    return await look(services, actor, see)


async def biggest_repositories(
    services: Services, actor: Actor, project: str, *, n: int
) -> list[tuple[str, int]]:
    """With their bytes. Raises Unknown."""

    def see(t: Transaction) -> list[tuple[str, int]]:
        t.require(Action.MANAGE_PROJECT, project=project)
        return lists.biggest_repositories(t.connection, get_project(t.connection, project).id, n=n)

    return await look(services, actor, see)


def _details(t: Transaction, name: str) -> RepositoryDetails:
    row = content.get_repository(t.connection, name)
    size, shared = content.repository_sizes(t.connection, row.id, t.visible)
    return RepositoryDetails(
        row=row,
        profile=Profile(*rows.get_profile(t.connection, row.id)),
        visibility=get_project(t.connection, row.project).visibility,
        size_bytes=size,
        shared_bytes=shared,
        starred=rows.is_starred(t.connection, row.id, t.actor.principal.id),
    )
