"""Who may do what to their own account, and to robots of a project: the rules that several pages share."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from entrepot.server.access.accounts import Account, get_account
from entrepot.server.access.errors import AccessDenied, InvalidCredentials, Unknown
from entrepot.server.access.grants import list_grants
from entrepot.server.access.model import Action
from entrepot.server.access.projects import get_project
from entrepot.server.access.role_table import get_role
from entrepot.server.web.visit import Visit

__all__ = ["actions_of_robot", "check_not_above", "find_robot", "own_account", "require_in_person"]


def require_in_person(visit: Visit) -> None:
    """A token must not make itself a wider or longer-lived credential.

    Raises InvalidCredentials, AccessDenied.
    """
    if visit.is_open:
        raise AccessDenied("this registry is open: it has no accounts", rule="open-mode")
    if visit.caller.principal.is_anonymous:
        raise InvalidCredentials("sign in first")
    if not visit.is_signed_in or visit.caller.principal.credential not in {"password", "session"}:
        raise AccessDenied("sign in with a password to do this", rule="in-person")


def own_account(connection: Connection, visit: Visit) -> Account:
    return get_account(connection, visit.name, kind="user")


async def check_not_above(visit: Visit, project: str, actions: Iterable[str]) -> None:
    """Whoever looks after robots can hold their secret: nobody may so get more than they have themselves."""
    for action in sorted(actions):
        await visit.api.require(visit.caller, Action(action), visit.resource(project=project))


def find_robot(connection: Connection, project: str, robot: str) -> Account:
    """Through its project: a robot of another one is not found. Raises Unknown."""
    found = get_account(connection, robot, kind="robot")
    if found.project_id != get_project(connection, project).id:
        raise Unknown(f"no robot is called {robot}")
    return found


def actions_of_robot(connection: Connection, project: str, robot: str) -> set[str]:
    """All that a robot may do in its project."""
    found = find_robot(connection, project, robot)
    grants = list_grants(connection, principal_id=found.id, project_id=found.project_id)
    return {action for grant in grants for action in get_role(connection, grant.role).actions}
