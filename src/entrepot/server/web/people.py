"""Who may do what to their own account, and to robots of a project: the rules that several pages share."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from entrepot.server.access.accounts import Account, get_account
from entrepot.server.access.errors import AccessDenied, InvalidCredentials, Unknown
from entrepot.server.access.grants import EVERY_TAG, list_reach
from entrepot.server.access.model import Action, Resource
from entrepot.server.access.projects import get_project
from entrepot.server.access.role_table import get_role
from entrepot.server.web.visit import Visit

__all__ = [
    "check_not_above",
    "find_robot",
    "own_account",
    "reach_of_robot",
    "reach_of_role",
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
    if not visit.is_signed_in or visit.caller.principal.credential not in {"password", "session"}:
        raise AccessDenied("sign in with a password to do this", rule="in-person")


def own_account(connection: Connection, visit: Visit) -> Account:
    return get_account(connection, visit.name, kind="user")


async def check_not_above(visit: Visit, project: str, reach: Iterable[tuple[str, str]]) -> None:
    """Whoever looks after robots can hold their secret: nobody may so get more than they have themselves.

    A pattern of tags is asked about as if it were a tag: one that fits it fits all that it stands for.
    """
    for action, tags in sorted(reach):
        await visit.api.require(visit.caller, Action(action), Resource(project=project, tag=tags))


def reach_of_role(connection: Connection, name: str, tags: str | None) -> set[tuple[str, str]]:
    """(action, pattern of tags) of a grant. Raises Unknown."""
    return {(action, tags or EVERY_TAG) for action in get_role(connection, name).actions}


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
