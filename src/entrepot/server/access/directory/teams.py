"""Teams: named groups that hold grants. A team may follow a group of a sign-in source."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update

from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import AlreadyExists, Unknown, VersionMismatch
from entrepot.server.access.directory.names import parse_short_name
from entrepot.server.db.tables.access import principal, team, team_member

__all__ = [
    "Team",
    "TeamMember",
    "add_member",
    "change_team",
    "create_team",
    "delete_team",
    "follow_groups",
    "get_team",
    "list_members",
    "list_teams",
    "remove_member",
]

LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class Team:
    id: int
    name: str
    description: str
    external_group: str | None
    """`source:group`: members come and go with that group, at sign-in."""
    version: int
    created_at: int


@dataclass(frozen=True, slots=True)
class TeamMember:
    name: str
    kind: str
    source: str
    added_at: int


_SELECT: Final = select(
    team.c.id, team.c.name, team.c.description, team.c.external_group, team.c.version, team.c.created_at
)


def get_team(connection: Connection, name: str, *, among: Collection[int] | None = None) -> Team:
    """Raises Unknown, also when it is not `among` those that the caller may know."""
    row: Any = connection.execute(_SELECT.where(team.c.name == name)).one_or_none()
    if row is None or (among is not None and row[0] not in among):
        raise Unknown(f"no team is called {name}")
    return Team(*row)


def list_teams(
    connection: Connection,
    *,
    last: str = "",
    n: int = 100,
    member_id: int | None = None,
    among: Collection[int] | None = None,
) -> list[Team]:
    query = _SELECT.where(team.c.name > last).order_by(team.c.name).limit(n)
    if among is not None:
        query = query.where(team.c.id.in_(among))
    if member_id is not None:
        query = query.where(
            team.c.id.in_(select(team_member.c.team_id).where(team_member.c.principal_id == member_id))
        )
    rows: Any = connection.execute(query)
    return [Team(*row) for row in rows]


def create_team(
    connection: Connection,
    by: Actor,
    *,
    now: int,
    name: str,
    description: str = "",
    external_group: str | None = None,
) -> Team:
    """Raises InvalidName, AlreadyExists."""
    name = parse_short_name(name, "team")
    if connection.execute(select(team.c.id).where(team.c.name == name)).first() is not None:
        raise AlreadyExists(f"team {name} exists already")
    connection.execute(
        insert(team).values(
            name=name, description=description, external_group=external_group or None, created_at=now
        )
    )
    record(connection, by, "create-team", now=now, new=name, detail={"external_group": external_group or ""})
    return get_team(connection, name)


def change_team(
    connection: Connection,
    by: Actor,
    changed: Team,
    changes: Mapping[str, str | None],
    *,
    now: int,
    expected_version: int | None = None,
) -> Team:
    """`description` and `external_group`. Raises VersionMismatch."""
    if expected_version is not None and expected_version != changed.version:
        raise VersionMismatch(f"team {changed.name} was changed meanwhile; read it again")
    values = {key: value for key, value in changes.items() if key in {"description", "external_group"}}
    connection.execute(
        update(team).where(team.c.id == changed.id).values(**values, version=team.c.version + 1)
    )
    record(connection, by, "change-team", now=now, new=changed.name, detail=values)
    return get_team(connection, changed.name)


def delete_team(connection: Connection, by: Actor, gone: Team, *, now: int) -> None:
    """With its memberships and grants."""
    connection.execute(delete(team).where(team.c.id == gone.id))
    record(connection, by, "delete-team", now=now, old=gone.name)


def list_members(connection: Connection, of: Team, *, last: str = "", n: int = 1000) -> list[TeamMember]:
    query = (
        select(
            principal.c.name,
            principal.c.kind,
            func.min(team_member.c.source),
            func.min(team_member.c.added_at),
        )
        .join(team_member, team_member.c.principal_id == principal.c.id)
        .where(team_member.c.team_id == of.id, principal.c.name > last)
        .group_by(principal.c.name, principal.c.kind)
        .order_by(principal.c.name)
        .limit(n)
    )
    rows: Any = connection.execute(query)
    return [TeamMember(*row) for row in rows]


def add_member(
    connection: Connection, by: Actor, to: Team, principal_id: int, name: str, *, now: int
) -> None:
    """Adding somebody twice is fine."""
    row = {"team_id": to.id, "principal_id": principal_id, "source": LOCAL}
    same = [team_member.c[key] == value for key, value in row.items()]
    if connection.execute(select(team_member.c.team_id).where(*same)).first() is None:
        connection.execute(insert(team_member).values(**row, added_at=now))
        record(connection, by, "add-member", now=now, new=f"{to.name} {name}")


def remove_member(
    connection: Connection, by: Actor, of: Team, principal_id: int, name: str, *, now: int
) -> None:
    """Raises Unknown when not a member."""
    gone = connection.execute(
        delete(team_member).where(team_member.c.team_id == of.id, team_member.c.principal_id == principal_id)
    )
    if gone.rowcount == 0:
        raise Unknown(f"team {of.name} has no member {name}")
    record(connection, by, "remove-member", now=now, old=f"{of.name} {name}")


def follow_groups(
    connection: Connection, by: Actor, principal_id: int, source: str, groups: Iterable[str], *, now: int
) -> None:
    """Replace what this source said about the principal's teams by what it says now."""
    wanted_names = [f"{source}:{group}" for group in set(groups)]
    wanted = set(
        connection.execute(select(team.c.id).where(team.c.external_group.in_(wanted_names))).scalars()
    )
    mine = (team_member.c.principal_id == principal_id) & (team_member.c.source == source)
    present = set(connection.execute(select(team_member.c.team_id).where(mine)).scalars())
    if wanted == present:
        return
    connection.execute(delete(team_member).where(mine, team_member.c.team_id.in_(present - wanted)))
    for team_id in sorted(wanted - present):
        connection.execute(
            insert(team_member).values(
                team_id=team_id, principal_id=principal_id, source=source, added_at=now
            )
        )
    detail = {"source": source, "teams": sorted(wanted), "before": sorted(present)}
    record(connection, by, "follow-groups", now=now, detail=detail)
