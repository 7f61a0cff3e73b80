"""Teams: named groups that hold grants, and who is in them.

People see the teams they work with (see `access/directory/seen_teams`), those who may see the registry all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import PermitRefused
from entrepot.server.access.decision.model import Action, PrincipalKind
from entrepot.server.access.directory import teams as rows
from entrepot.server.access.directory.accounts import get_account
from entrepot.server.access.directory.grants import GrantRow, list_grants
from entrepot.server.access.directory.seen_teams import EVERY_TEAM, SeenTeams, load_seen_teams
from entrepot.server.access.directory.teams import Team, TeamMember
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = [
    "Team",
    "TeamDetails",
    "TeamMember",
    "add_member",
    "change_team",
    "create_team",
    "delete_team",
    "list_members",
    "list_teams",
    "list_teams_to_add",
    "list_teams_with_members",
    "remove_member",
    "show_team",
    "show_team_details",
]

MOST = 1000
"""Of each kind of thing that one team has and an answer shows."""


@dataclass(frozen=True, slots=True)
class TeamDetails:
    team: Team
    members: list[TeamMember]
    grants: list[GrantRow]


async def list_teams(services: Services, actor: Actor, *, last: str = "", n: int = 100) -> list[Team]:
    """By name, after `last`: those that the actor may know of."""

    def see(t: Transaction) -> list[Team]:
        return rows.list_teams(t.connection, last=last, n=n, among=_seen(t).named)

    return await look(services, actor, see)


async def list_teams_to_add(services: Services, actor: Actor, *, project: str, n: int) -> list[Team]:
    """Those that a project's members may be chosen from; for whoever manages them."""

    def see(t: Transaction) -> list[Team]:
        t.require(Action.MANAGE_MEMBERS, project=project)
        return rows.list_teams(t.connection, n=n)

    return await look(services, actor, see)


async def list_teams_with_members(
    services: Services, actor: Actor, *, n: int
) -> list[tuple[Team, list[TeamMember]]]:
    """The first `n` by name."""

    def see(t: Transaction) -> list[tuple[Team, list[TeamMember]]]:
        t.require(Action.READ_SYSTEM)
        return [(team, rows.list_members(t.connection, team)) for team in rows.list_teams(t.connection, n=n)]

    return await look(services, actor, see)


async def show_team(services: Services, actor: Actor, name: str) -> Team:
    """Raises Unknown, also for one that the actor may not know of."""

    def see(t: Transaction) -> Team:
        return rows.get_team(t.connection, name, among=_seen(t).named)

    return await look(services, actor, see)


async def show_team_details(services: Services, actor: Actor, name: str) -> TeamDetails:
    """Raises Unknown."""

    def see(t: Transaction) -> TeamDetails:
        t.require(Action.READ_SYSTEM)
        found = rows.get_team(t.connection, name)
        return TeamDetails(
            found,
            rows.list_members(t.connection, found, n=MOST),
            list_grants(t.connection, team_id=found.id, n=MOST),
        )

    return await look(services, actor, see)


async def list_members(
    services: Services, actor: Actor, team: str, *, last: str = "", n: int = 100
) -> list[TeamMember]:
    """By name, after `last`. Raises Unknown, also for a team whose members the actor may not know."""

    def see(t: Transaction) -> list[TeamMember]:
        found = rows.get_team(t.connection, team, among=_seen(t).known)
        return rows.list_members(t.connection, found, last=last, n=n)

    return await look(services, actor, see)


async def create_team(
    services: Services, actor: Actor, *, name: str, description: str = "", external_group: str | None = None
) -> Team:
    """`external_group`: as `source:group`; members come and go with it. Raises InvalidName, AlreadyExists."""

    def do(t: Transaction) -> Team:
        t.require(Action.MANAGE_SYSTEM)
        return rows.create_team(
            t.connection,
            t.actor,
            now=t.now,
            name=name,
            description=description,
            external_group=external_group,
        )

    return await change(services, actor, do)


async def change_team(
    services: Services,
    actor: Actor,
    name: str,
    changes: Mapping[str, str | None],
    *,
    expected_version: int | None = None,
) -> Team:
    """`description` and `external_group`. Raises Unknown, VersionMismatch."""

    def do(t: Transaction) -> Team:
        t.require(Action.MANAGE_SYSTEM)
        return rows.change_team(
            t.connection,
            t.actor,
            rows.get_team(t.connection, name),
            changes,
            now=t.now,
            expected_version=expected_version,
        )

    return await change(services, actor, do)


async def delete_team(services: Services, actor: Actor, name: str) -> None:
    """With its memberships and grants. Raises Unknown."""

    def do(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        rows.delete_team(t.connection, t.actor, rows.get_team(t.connection, name), now=t.now)

    await change(services, actor, do)


async def add_member(services: Services, actor: Actor, team: str, member: str) -> None:
    """A user or robot; adding somebody twice is fine. Raises Unknown."""

    def do(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        to, who = rows.get_team(t.connection, team), get_account(t.connection, member)
        rows.add_member(t.connection, t.actor, to, who.id, who.name, now=t.now)

    await change(services, actor, do)


async def remove_member(services: Services, actor: Actor, team: str, member: str) -> None:
    """What they had through the team ends with their next request. Raises Unknown, also for no member."""

    def do(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        of, who = rows.get_team(t.connection, team), get_account(t.connection, member)
        rows.remove_member(t.connection, t.actor, of, who.id, who.name, now=t.now)

    await change(services, actor, do)


def _seen(t: Transaction) -> SeenTeams:
    """Raises InvalidCredentials, AccessDenied."""
    t.require(Action.MANAGE_SELF)
    if t.may(Action.READ_SYSTEM):
        return EVERY_TEAM
    if t.actor.principal.kind is not PrincipalKind.USER:
        raise PermitRefused("teams and who is in them are shown to users", rule="people")
    return load_seen_teams(t.connection, t.actor.principal.id)
