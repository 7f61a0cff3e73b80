"""Projects: made, looked at, changed, deleted, brought back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action, PrincipalKind
from entrepot.server.access.directory import projects as rows
from entrepot.server.access.directory.accounts import get_account
from entrepot.server.access.directory.projects import Project
from entrepot.server.control.queries import tombstones
from entrepot.server.control.queries.lists import count_repositories
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = [
    "Project",
    "change_project",
    "create_project",
    "delete_project",
    "list_projects",
    "restore_project",
    "show_head",
    "show_project",
]


async def list_projects(services: Services, actor: Actor, *, last: str = "", n: int = 100) -> list[Project]:
    """By name, after `last`; those the actor sees something of."""

    def see(t: Transaction) -> list[Project]:
        t.require(Action.SEARCH)
        return rows.list_projects(t.connection, t.visible, last=last, n=n)

    return await look(services, actor, see)


async def show_project(services: Services, actor: Actor, name: str) -> Project:
    """How much is in it is told to those who may see all of it. Raises Unknown."""

    def see(t: Transaction) -> Project:
        t.require(Action.READ, project=name)
        return rows.as_seen(rows.get_project(t.connection, name), t.visible)

    return await look(services, actor, see)


async def show_head(services: Services, actor: Actor, name: str) -> Project:
    """As `show_project`, for who sees at least one of its repositories too. Raises Unknown."""

    def see(t: Transaction) -> Project:
        visible = t.visible
        found = rows.find_project(t.connection, name)
        if found is None or not count_repositories(t.connection, visible, project_name=name):
            t.require(Action.READ, project=name)
        return rows.as_seen(rows.get_project(t.connection, name), visible)

    return await look(services, actor, see)


async def create_project(
    services: Services,
    actor: Actor,
    *,
    name: str,
    visibility: str = "private",
    quota_bytes: int | None = None,
    owner: str | None = None,
) -> Project:
    """The actor owns it, when that is a user; somebody else when an admin says so with `owner`.

    Raises InvalidName, InvalidInput, AlreadyExists, Unknown (the owner).
    """

    def do(t: Transaction) -> Project:
        t.require(Action.CREATE_PROJECT)
        who = t.actor.principal
        owner_id = who.id if who.kind is PrincipalKind.USER else None
        if owner is not None:
            t.require(Action.MANAGE_SYSTEM)
            owner_id = get_account(t.connection, owner).id
        return rows.create_project(
            t.connection,
            t.actor,
            now=t.now,
            name=name,
            visibility=visibility,
            quota_bytes=quota_bytes,
            owner_id=owner_id,
        )

    return await change(services, actor, do)


async def change_project(
    services: Services,
    actor: Actor,
    name: str,
    changes: Mapping[str, Any],
    *,
    expected_version: str | None = None,
) -> Project:
    """`visibility` and `quota_bytes`. Raises Unknown, VersionMismatch, InvalidInput."""

    def do(t: Transaction) -> Project:
        t.require(Action.MANAGE_PROJECT, project=name)
        found = rows.get_project(t.connection, name)
        return rows.change_project(
            t.connection, t.actor, found, changes, now=t.now, expected_version=expected_version
        )

    return await change(services, actor, do)


async def delete_project(services: Services, actor: Actor, name: str) -> None:
    """With its repositories. It can be restored until the undo window ends. Raises NotFound."""

    def do(t: Transaction) -> None:
        tombstones.delete_project(t.connection, name, t.actor, t.permit, t.now, t.steady)

    await change(services, actor, do)


async def restore_project(services: Services, actor: Actor, name: str) -> Project:
    """With the repositories, members and grants that went with it. Raises NotFound, Conflict
    (the name is in use, or the undo window is over).
    """

    def do(t: Transaction) -> Project:
        # Not the rights in the project: those of a project that is gone are nobody's.
        t.require(Action.MANAGE_SYSTEM)
        tombstones.restore_project(t.connection, name, t.actor, t.now, t.kept_since)
        return rows.get_project(t.connection, name)

    return await change(services, actor, do)
