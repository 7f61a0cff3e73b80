"""Grants: a role for a user, robot or team in a project, perhaps only for some repositories and tags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, or_, select

from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import AlreadyExists, InvalidPattern, Unknown
from entrepot.server.access.decision.model import EVERY_TAG, Action
from entrepot.server.access.decision.patterns import TagPattern, parse_repository_pattern, parse_tag_pattern
from entrepot.server.access.decision.policy import fits_tags
from entrepot.server.access.directory.role_table import get_role
from entrepot.server.db.tables.access import access_grant, principal, role, team, team_member
from entrepot.server.db.tables.projects import project

__all__ = ["GrantRow", "add_grant", "get_grant", "list_grants", "list_reach", "reach_of_role", "remove_grant"]


@dataclass(frozen=True, slots=True)
class GrantRow:
    """One grant, with names in place of ids. Exactly one of `principal` and `team` is set."""

    id: int
    project: str
    principal: str | None
    principal_kind: str | None
    team: str | None
    role: str
    repositories: str | None
    tags: str | None
    created_at: int
    created_by: str


_SELECT: Final = (
    select(
        access_grant.c.id,
        project.c.name,
        principal.c.name,
        principal.c.kind,
        team.c.name,
        role.c.name,
        access_grant.c.repositories,
        access_grant.c.tags,
        access_grant.c.created_at,
        access_grant.c.created_by,
    )
    .join(project, project.c.id == access_grant.c.project_id)
    .join(role, role.c.id == access_grant.c.role_id)
    .outerjoin(principal, principal.c.id == access_grant.c.principal_id)
    .outerjoin(team, team.c.id == access_grant.c.team_id)
    .where(project.c.deleted_at.is_(None))
)


def add_grant(
    connection: Connection,
    by: Actor,
    *,
    now: int,
    project_id: int,
    role_name: str,
    principal_id: int | None = None,
    team_id: int | None = None,
    repositories: str | None = None,
    tags: str | None = None,
) -> GrantRow:
    """Raises Unknown (role), InvalidPattern, AlreadyExists (the very same grant)."""
    project_name = connection.execute(select(project.c.name).where(project.c.id == project_id)).scalar_one()
    if repositories is not None:
        _check_inside(project_name, repositories)
    if tags is not None:
        parse_tag_pattern(tags)
    role_id = connection.execute(select(role.c.id).where(role.c.name == role_name)).scalar_one_or_none()
    if role_id is None:
        raise Unknown(f"no role is called {role_name}", hint="list roles with: entrepot admin role list")
    values = {
        "project_id": project_id,
        "principal_id": principal_id,
        "team_id": team_id,
        "role_id": role_id,
        "repositories": repositories,
        "tags": tags,
    }
    same = [access_grant.c[key].is_not_distinct_from(value) for key, value in values.items()]
    if connection.execute(select(access_grant.c.id).where(*same)).first() is not None:
        raise AlreadyExists("the same grant is there already")
    result = connection.execute(
        insert(access_grant).values(**values, created_at=now, created_by=by.name).returning(access_grant.c.id)
    )
    added = get_grant(connection, result.scalar_one())
    record(
        connection,
        by,
        "add-grant",
        now=now,
        repository=project_name,
        new=_words(added),
        detail={"id": added.id},
    )
    return added


def remove_grant(connection: Connection, by: Actor, grant: GrantRow, *, now: int) -> None:
    connection.execute(delete(access_grant).where(access_grant.c.id == grant.id))
    record(
        connection,
        by,
        "remove-grant",
        now=now,
        repository=grant.project,
        old=_words(grant),
        detail={"id": grant.id},
    )


def get_grant(connection: Connection, grant_id: int, *, project_id: int | None = None) -> GrantRow:
    """Found through its project when that is given. Raises Unknown."""
    query = _SELECT.where(access_grant.c.id == grant_id)
    if project_id is not None:
        query = query.where(access_grant.c.project_id == project_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise Unknown(f"no grant has the number {grant_id}")
    return _grant(row)


def list_grants(
    connection: Connection,
    *,
    project_id: int | None = None,
    principal_id: int | None = None,
    team_id: int | None = None,
    last: int = 0,
    n: int = 1000,
) -> list[GrantRow]:
    """By number, after `last`."""
    query = _SELECT.where(access_grant.c.id > last)
    for column, value in (("project_id", project_id), ("principal_id", principal_id), ("team_id", team_id)):
        if value is not None:
            query = query.where(access_grant.c[column] == value)
    return [_grant(row) for row in connection.execute(query.order_by(access_grant.c.id).limit(n))]


def list_reach(connection: Connection, *, principal_id: int, project_id: int) -> set[tuple[str, str]]:
    """(action, pattern of tags) of all a principal may do in a project, by itself and through teams.

    A grant without a pattern stands for every tag.
    """
    through = select(team_member.c.team_id).where(team_member.c.principal_id == principal_id)
    query = (
        select(role.c.actions, access_grant.c.tags)
        .join(role, role.c.id == access_grant.c.role_id)
        .where(
            access_grant.c.project_id == project_id,
            or_(access_grant.c.principal_id == principal_id, access_grant.c.team_id.in_(through)),
        )
    )
    rows = connection.execute(query).all()
    return {one for actions, tags in rows for one in _reach(actions.split(), tags)}


def reach_of_role(connection: Connection, name: str, tags: str | None) -> set[tuple[str, str]]:
    """(action, pattern of tags) of a grant of that role. Raises Unknown."""
    return _reach(get_role(connection, name).actions, tags)


def _reach(actions: Iterable[str], tags: str | None) -> set[tuple[str, str]]:
    """Without what a grant narrowed to these tags does not hold, whatever its role says."""
    pattern = TagPattern(tags) if tags else None
    return {(one, tags or EVERY_TAG) for one in actions if fits_tags(pattern, Action(one), tags)}


def _check_inside(project_name: str, pattern: str) -> None:
    parse_repository_pattern(pattern)
    if pattern != project_name and not pattern.startswith(project_name + "/"):
        raise InvalidPattern(
            f"repository pattern {pattern!r} is outside of project {project_name}",
            hint=f"begin it with {project_name}/",
        )


def _grant(row: Any) -> GrantRow:
    return GrantRow(*row)


def _words(grant: GrantRow) -> str:
    who = grant.principal or f"team {grant.team}"
    return " ".join(filter(None, (who, grant.role, grant.repositories, grant.tags and f"tags {grant.tags}")))
