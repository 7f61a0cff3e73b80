"""Who may do what to their own account, and to robots of a project: the rules that several pages share."""

from __future__ import annotations

from sqlalchemy import Connection

from entrepot.server.access.decision.errors import AccessDenied, InvalidCredentials, Unknown
from entrepot.server.access.directory.accounts import Account, get_account
from entrepot.server.access.directory.grants import list_reach
from entrepot.server.access.directory.projects import get_project
from entrepot.server.http.caller import require_in_person as in_person
from entrepot.server.pages.kit.visit import Visit

__all__ = [
    "find_robot",
    "own_account",
    "reach_of_robot",
    "require_in_person",
]


def require_in_person(visit: Visit) -> None:
    """A token must not make itself a wider or longer-lived credential.

    Raises InvalidCredentials, AccessDenied.
    """
    if visit.is_open:
        raise AccessDenied("this registry is open: it has no accounts", rule="open-mode")
    if visit.caller.principal.is_anonymous:
        raise InvalidCredentials("sign in first")
    in_person(visit.caller)


def own_account(connection: Connection, visit: Visit) -> Account:
    return get_account(connection, visit.name, kind="user")


def find_robot(connection: Connection, project: str, robot: str) -> Account:
    """Through its project: a robot of another one is not found. Raises Unknown."""
    found = get_account(connection, robot, kind="robot")
    if found.project_id != get_project(connection, project).id:
        raise Unknown(f"no robot is called {robot}")
    return found


def reach_of_robot(connection: Connection, project: str, robot: str) -> set[tuple[str, str]]:
    """All that a robot may do in its project."""
    found = find_robot(connection, project, robot)
    assert found.project_id is not None
    return list_reach(connection, principal_id=found.id, project_id=found.project_id)
