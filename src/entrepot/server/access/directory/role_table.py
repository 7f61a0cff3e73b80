"""Roles as rows: the built-in ones, written at first start, and custom ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from entrepot.errors import Conflict
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import AlreadyExists, Unknown, VersionMismatch
from entrepot.server.access.decision.roles import BUILTIN_ROLES, parse_role_actions
from entrepot.server.access.directory.names import parse_short_name
from entrepot.server.db.tables.access import access_grant, role
from entrepot.server.db.tables.projects import project

__all__ = [
    "AccessRole",
    "change_role",
    "create_role",
    "delete_role",
    "ensure_builtin_roles",
    "get_role",
    "list_roles",
    "projects_with_role",
]


@dataclass(frozen=True, slots=True)
class AccessRole:
    id: int
    name: str
    description: str
    actions: tuple[str, ...]
    builtin: bool
    version: int


_DESCRIPTIONS: Final = {
    "viewer": "sees repositories and tags, pulls nothing",
    "puller": "pulls",
    "developer": "pulls and pushes, makes repositories",
    "maintainer": "also deletes, restores, looks after robots",
    "owner": "everything in the project, members included",
}
_SELECT: Final = select(
    role.c.id, role.c.name, role.c.description, role.c.actions, role.c.builtin, role.c.version
)


def ensure_builtin_roles(connection: Connection) -> None:
    """Write the built-in roles, and bring them to what this release says. Safe to repeat."""
    present = {row.name: row.actions for row in connection.execute(select(role.c.name, role.c.actions))}
    for name, actions in BUILTIN_ROLES.items():
        text = " ".join(sorted(actions))
        if name not in present:
            connection.execute(
                insert(role).values(name=name, description=_DESCRIPTIONS[name], actions=text, builtin=True)
            )
        elif present[name] != text:
            connection.execute(update(role).where(role.c.name == name).values(actions=text, builtin=True))


def get_role(connection: Connection, name: str) -> AccessRole:
    """Raises Unknown."""
    row: Any = connection.execute(_SELECT.where(role.c.name == name)).one_or_none()
    if row is None:
        raise Unknown(f"no role is called {name}", hint="list roles with: entrepot admin role list")
    return _role(row)


def list_roles(connection: Connection, *, last: str = "", n: int = 1000) -> list[AccessRole]:
    query = _SELECT.where(role.c.name > last).order_by(role.c.name).limit(n)
    return [_role(row) for row in connection.execute(query)]


def create_role(
    connection: Connection,
    by: Actor,
    *,
    now: int,
    name: str,
    actions: Iterable[str],
    description: str = "",
) -> AccessRole:
    """Raises InvalidName, AlreadyExists."""
    name = parse_short_name(name, "role")
    text = " ".join(sorted(parse_role_actions(actions)))
    if connection.execute(select(role.c.id).where(role.c.name == name)).first() is not None:
        raise AlreadyExists(f"role {name} exists already")
    connection.execute(insert(role).values(name=name, description=description, actions=text, builtin=False))
    record(connection, by, "create-role", now=now, new=name, detail={"actions": text})
    return get_role(connection, name)


def change_role(
    connection: Connection,
    by: Actor,
    changed: AccessRole,
    *,
    now: int,
    actions: Iterable[str] | None = None,
    description: str | None = None,
    expected_version: int | None = None,
) -> AccessRole:
    """Raises Conflict for a built-in role, VersionMismatch, InvalidName."""
    _refuse_builtin(changed)
    if expected_version is not None and expected_version != changed.version:
        raise VersionMismatch(f"role {changed.name} was changed meanwhile; read it again")
    text = " ".join(sorted(parse_role_actions(actions))) if actions is not None else " ".join(changed.actions)
    description = changed.description if description is None else description
    connection.execute(
        update(role)
        .where(role.c.id == changed.id)
        .values(actions=text, description=description, version=role.c.version + 1)
    )
    record(
        connection,
        by,
        "change-role",
        now=now,
        old=" ".join(changed.actions),
        new=text,
        detail={"name": changed.name},
    )
    return get_role(connection, changed.name)


def delete_role(connection: Connection, by: Actor, gone: AccessRole, *, now: int) -> None:
    """Raises Conflict for a built-in role or one that a grant uses."""
    _refuse_builtin(gone)
    if connection.execute(select(access_grant.c.id).where(access_grant.c.role_id == gone.id)).first():
        raise Conflict(f"role {gone.name} is used by grants", hint="remove those grants first")
    connection.execute(delete(role).where(role.c.id == gone.id))
    record(connection, by, "delete-role", now=now, old=gone.name)


def projects_with_role(connection: Connection, wanted: AccessRole, *, n: int = 20) -> list[tuple[str, bool]]:
    """Projects in which somebody has the role: the name, and whether it is deleted and only kept for undo."""
    query = (
        select(project.c.name, project.c.deleted_at.is_not(None))
        .join(access_grant, access_grant.c.project_id == project.c.id)
        .where(access_grant.c.role_id == wanted.id)
        .distinct()
    )
    return [(name, bool(gone)) for name, gone in connection.execute(query.order_by(project.c.name).limit(n))]


def _refuse_builtin(wanted: AccessRole) -> None:
    if wanted.builtin:
        raise Conflict(
            f"role {wanted.name} is built in", hint="make a custom role: entrepot admin role create"
        )


def _role(row: Any) -> AccessRole:
    role_id, name, description, actions, builtin, version = row
    return AccessRole(role_id, name, description, tuple(actions.split()), bool(builtin), version)
