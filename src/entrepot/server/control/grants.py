"""Members of a project: who has which role in it, perhaps only for some repositories and tags."""

from __future__ import annotations

from typing import ClassVar, Final

from entrepot.errors import Conflict, InvalidInput
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory import grants as rows
from entrepot.server.access.directory.accounts import get_account
from entrepot.server.access.directory.grants import GrantRow
from entrepot.server.access.directory.projects import get_project
from entrepot.server.access.directory.teams import get_team
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = ["GrantRow", "OwnerLeaves", "give_role", "list_grants", "take_role"]

_MOST: Final = 1000


class OwnerLeaves(Conflict):
    """A project would have no owner any more, or its actor less to say in it; and nobody was asked."""

    code: ClassVar[str] = "owner-leaves"


async def list_grants(
    services: Services,
    actor: Actor,
    *,
    project: str | None = None,
    who: str | None = None,
    last: int = 0,
    n: int = 100,
) -> list[GrantRow]:
    """By number, after `last`: of a project, of a user or robot, or all. Raises Unknown."""

    def see(t: Transaction) -> list[GrantRow]:
        if project is None or who is not None:
            t.require(Action.READ_SYSTEM)
        else:
            t.require(Action.READ_MEMBERS, project=project)
        return rows.list_grants(
            t.connection,
            project_id=get_project(t.connection, project).id if project is not None else None,
            principal_id=get_account(t.connection, who).id if who is not None else None,
            last=last,
            n=n,
        )

    return await look(services, actor, see)


async def give_role(
    services: Services,
    actor: Actor,
    *,
    project: str,
    role: str,
    principal: str | None = None,
    team: str | None = None,
    repositories: str | None = None,
    tags: str | None = None,
) -> GrantRow:
    """To a user or robot, or to a team; no more than the actor has.

    Raises Unknown (project, role, who), InvalidPattern, AlreadyExists, AccessDenied.
    """
    if (principal is None) == (team is None):
        raise InvalidInput("a grant is for a principal or for a team; name one of them")

    def do(t: Transaction) -> GrantRow:
        t.require(Action.MANAGE_MEMBERS, project=project)
        t.require_reach(project, rows.reach_of_role(t.connection, role, tags))
        return rows.add_grant(
            t.connection,
            t.actor,
            now=t.now,
            project_id=get_project(t.connection, project).id,
            role_name=role,
            principal_id=get_account(t.connection, principal).id if principal is not None else None,
            team_id=get_team(t.connection, team).id if team is not None else None,
            repositories=repositories,
            tags=tags,
        )

    return await change(services, actor, do)


async def take_role(
    services: Services, actor: Actor, number: int, *, project: str | None = None, was_asked: bool = True
) -> GrantRow:
    """It ends with the next request of whoever held it. `project`: a grant of another one is not found.

    Where a click is all it takes (`was_asked` is False) the last owner's role, and the actor's own, stay.
    Raises Unknown, OwnerLeaves. Returns what is gone.
    """

    def do(t: Transaction) -> GrantRow:
        if project is None:
            t.require(Action.MANAGE_SYSTEM)
            found = rows.get_grant(t.connection, number)
        else:
            t.require(Action.MANAGE_MEMBERS, project=project)
            found = rows.get_grant(t.connection, number, project_id=get_project(t.connection, project).id)
        if not was_asked:
            _stay(t, found)
        rows.remove_grant(t.connection, t.actor, found, now=t.now)
        return found

    return await change(services, actor, do)


def _stay(t: Transaction, grant: GrantRow) -> None:
    """Raises OwnerLeaves."""
    held = rows.list_grants(t.connection, project_id=get_project(t.connection, grant.project).id, n=_MOST)
    if _owns(grant) and not any(_owns(other) for other in held if other.id != grant.id):
        raise OwnerLeaves(f"{grant.principal or grant.team} is the last owner of {grant.project}")
    if grant.principal == t.actor.principal.name:
        raise OwnerLeaves(f"this is your own role in {grant.project}: you may not be able to take it back")


def _owns(grant: GrantRow) -> bool:
    return grant.role == "owner" and not grant.repositories and not grant.tags
