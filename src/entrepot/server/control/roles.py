"""Roles: named sets of actions, built in or made by an admin."""

from __future__ import annotations

from collections.abc import Iterable

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory import role_table as rows
from entrepot.server.access.directory.role_table import AccessRole
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = [
    "AccessRole",
    "change_role",
    "create_role",
    "delete_role",
    "list_roles",
    "projects_with_role",
    "show_role",
]


async def list_roles(services: Services, actor: Actor) -> list[AccessRole]:
    """By name."""

    def see(t: Transaction) -> list[AccessRole]:
        t.require(Action.MANAGE_SELF)
        return rows.list_roles(t.connection)

    return await look(services, actor, see)


async def show_role(services: Services, actor: Actor, name: str) -> AccessRole:
    """Raises Unknown."""

    def see(t: Transaction) -> AccessRole:
        t.require(Action.MANAGE_SELF)
        return rows.get_role(t.connection, name)

    return await look(services, actor, see)


async def projects_with_role(services: Services, actor: Actor, name: str) -> list[tuple[str, bool]]:
    """Where somebody has it: a project, and whether it is deleted and only kept for undo. Raises Unknown."""

    def see(t: Transaction) -> list[tuple[str, bool]]:
        t.require(Action.READ_SYSTEM)
        return rows.projects_with_role(t.connection, rows.get_role(t.connection, name))

    return await look(services, actor, see)


async def create_role(
    services: Services, actor: Actor, *, name: str, actions: Iterable[str], description: str = ""
) -> AccessRole:
    """Raises InvalidName, AlreadyExists, InvalidInput (an action no role may hold)."""

    def do(t: Transaction) -> AccessRole:
        t.require(Action.MANAGE_SYSTEM)
        return rows.create_role(
            t.connection, t.actor, now=t.now, name=name, actions=actions, description=description
        )

    return await change(services, actor, do)


async def change_role(
    services: Services,
    actor: Actor,
    name: str,
    *,
    actions: Iterable[str] | None = None,
    description: str | None = None,
    expected_version: int | None = None,
) -> AccessRole:
    """Holds from the next request on. Raises Unknown, VersionMismatch, Conflict (a built-in one)."""

    def do(t: Transaction) -> AccessRole:
        t.require(Action.MANAGE_SYSTEM)
        return rows.change_role(
            t.connection,
            t.actor,
            rows.get_role(t.connection, name),
            now=t.now,
            actions=actions,
            description=description,
            expected_version=expected_version,
        )

    return await change(services, actor, do)


async def delete_role(services: Services, actor: Actor, name: str) -> None:
    """Raises Unknown, Conflict (built in, or somebody has it)."""

    def do(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        rows.delete_role(t.connection, t.actor, rows.get_role(t.connection, name), now=t.now)

    await change(services, actor, do)
