"""Finding and making repository rows, and inserting where another transaction may have been quicker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult, Insert, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from entrepot.server.access.audit import record_change
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change, Permit
from entrepot.server.access.decision.model import PrincipalKind
from entrepot.server.db.errors import RetryTransaction
from entrepot.server.db.statements import INTEGRITY_ERRORS, Prepared, is_unique_violation
from entrepot.server.db.tables import project, repo
from entrepot.server.repos.errors import NameUnknown, ProxyTakesNoPush

__all__ = [
    "RepositoryRow",
    "ensure_repository",
    "find_repository",
    "insert_new",
    "insert_row",
    "refuse_push_to_proxy",
    "require_repository",
]

_REPO = Prepared(
    select(repo.c.id, repo.c.project_id, repo.c.proxied).where(
        repo.c.name == bindparam("p_name"), repo.c.deleted_at.is_(None)
    )
)
_PROJECT = Prepared(
    select(project.c.id, project.c.kind).where(
        project.c.name == bindparam("p_name"), project.c.deleted_at.is_(None)
    )
)
_NEW_PROJECT = Prepared(
    insert(project)
    .values(name=bindparam("p_name"), created_at=bindparam("p_at"), created_by=bindparam("p_by"))
    .returning(project.c.id)
)
_NEW_REPO = Prepared(
    insert(repo)
    .values(
        project_id=bindparam("p_project_id"),
        name=bindparam("p_name"),
        proxied=bindparam("p_proxied"),
        created_at=bindparam("p_at"),
        created_by=bindparam("p_by"),
    )
    .returning(repo.c.id)
)


@dataclass(frozen=True, slots=True)
class RepositoryRow:
    """A live repository."""

    id: int
    project_id: int
    name: str
    proxied: bool = False


def find_repository(connection: Connection, name: str) -> RepositoryRow | None:
    """The live repository of that name, None when there is none."""
    found = _REPO.row(connection, {"p_name": name})
    return None if found is None else RepositoryRow(found[0], found[1], name, proxied=bool(found[2]))


def require_repository(connection: Connection, name: str) -> RepositoryRow:
    """The live repository of that name. Raises NameUnknown."""
    found = find_repository(connection, name)
    if found is None:
        raise NameUnknown(name)
    return found


def ensure_repository(
    connection: Connection, name: str, *, actor: Actor, permit: Permit, at: int
) -> RepositoryRow:
    """The live repository of that name, made (with its project) when the permit lets the actor.

    Raises ProxyTakesNoPush when it is one of a proxy project and the actor is not the registry itself.
    """
    found = find_repository(connection, name)
    if found is not None:
        refuse_push_to_proxy(name, actor, proxied=found.proxied)
        return found
    project_name = name.partition("/")[0]
    row = {"p_at": at, "p_by": actor.name}
    there = _PROJECT.row(connection, {"p_name": project_name})
    project_id, proxied = (there[0], there[1] == "proxy") if there else (None, False)
    refuse_push_to_proxy(name, actor, proxied=proxied)
    if project_id is None:
        change = Change("create-project", project_name)
        permit(connection, change)
        project_id = insert_row(connection, _NEW_PROJECT, {"p_name": project_name, **row})
        record_change(connection, change, actor, at)
    change = Change("create-repository", name)
    permit(connection, change)
    new = {"p_project_id": project_id, "p_name": name, "p_proxied": proxied, **row}
    made = insert_row(connection, _NEW_REPO, new)
    record_change(connection, change, actor, at)
    return RepositoryRow(made, project_id, name, proxied)


def refuse_push_to_proxy(name: str, actor: Actor, *, proxied: bool) -> None:
    """What is in a proxy project comes from its upstream alone. Raises ProxyTakesNoPush."""
    if proxied and actor.principal.kind is not PrincipalKind.SYSTEM:
        raise ProxyTakesNoPush(name)


def insert_new(connection: Connection, statement: Insert, row: Mapping[str, Any]) -> CursorResult[Any]:
    """Insert a row that was not there a moment ago; if it is now, run the whole transaction again.

    Raises RetryTransaction.
    """
    try:
        return connection.execute(statement, row)
    except IntegrityError as error:
        if is_unique_violation(error):
            raise RetryTransaction from error
        raise


def insert_row(connection: Connection, statement: Prepared, row: Mapping[str, Any]) -> Any:
    """The same with a prepared statement; returns the first column it returns, None without RETURNING.

    Raises RetryTransaction.
    """
    try:
        return statement.value(connection, row)
    except INTEGRITY_ERRORS as error:
        if is_unique_violation(error):
            raise RetryTransaction from error
        raise
