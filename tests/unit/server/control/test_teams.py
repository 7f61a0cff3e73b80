"""Who makes and changes teams, and who sees which of them."""

import pytest

from entrepot.server.access.decision.errors import (
    AlreadyExists,
    InvalidCredentials,
    PermitRefused,
    Unknown,
    VersionMismatch,
)
from entrepot.server.control import grants, teams
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import NOBODY, OPERATOR, UseCase, actor, audit_rows, refused

pytestmark = pytest.mark.anyio

CHANGES: dict[str, UseCase] = {
    "create": lambda s, a: teams.create_team(s, a, name="new"),
    "change": lambda s, a: teams.change_team(s, a, "devs", {"description": "who write it"}),
    "delete": lambda s, a: teams.delete_team(s, a, "devs"),
    "add": lambda s, a: teams.add_member(s, a, "devs", "viewer"),
    "remove": lambda s, a: teams.remove_member(s, a, "devs", "developer"),
}


@pytest.fixture
async def devs(team: Registry) -> Registry:
    """With `developer` in team devs, which has a role in acme, and team apart, which has none."""
    for name in ("devs", "apart"):
        await teams.create_team(team.services, OPERATOR, name=name)
    await teams.add_member(team.services, OPERATOR, "devs", "developer")
    await grants.give_role(team.services, OPERATOR, project="acme", role="puller", team="devs")
    return team


@pytest.mark.parametrize("name", CHANGES)
async def test_only_admins_change_teams(devs: Registry, name: str) -> None:
    await refused(devs, CHANGES[name], "owner", "developer", "auditor", "stranger", "acme+ci")
    with pytest.raises(InvalidCredentials):
        await CHANGES[name](devs.services, NOBODY)
    before = await audit_rows(devs)
    await CHANGES[name](devs.services, await actor(devs, "root"))
    assert await audit_rows(devs) > before


async def seen(registry: Registry, name: str) -> list[str]:
    return [team.name for team in await teams.list_teams(registry.services, await actor(registry, name))]


async def test_people_see_the_teams_they_work_with(devs: Registry) -> None:
    assert await seen(devs, "developer") == ["devs"]
    assert await seen(devs, "stranger") == []
    assert await seen(devs, "auditor") == ["apart", "devs"]
    # Whoever gives roles picks from all names, and learns no members so.
    assert await seen(devs, "owner") == ["apart", "devs"]
    owner = await actor(devs, "owner")
    assert [m.name for m in await teams.list_members(devs.services, owner, "devs")] == ["developer"]
    with pytest.raises(Unknown):
        await teams.list_members(devs.services, owner, "apart")
    with pytest.raises(Unknown):
        await teams.show_team(devs.services, await actor(devs, "stranger"), "devs")


async def test_robots_and_strangers_to_the_registry_see_none(devs: Registry) -> None:
    robot = await actor(devs, "acme+ci", credential="robot")
    for look in (
        teams.list_teams,
        lambda s, a: teams.show_team(s, a, "devs"),
        lambda s, a: teams.list_members(s, a, "devs"),
    ):
        with pytest.raises(PermitRefused, match="shown to users"):
            await look(devs.services, robot)
        with pytest.raises(InvalidCredentials):
            await look(devs.services, NOBODY)


async def test_all_of_a_team_is_shown_to_who_may_see_the_registry(devs: Registry) -> None:
    await refused(devs, lambda s, a: teams.show_team_details(s, a, "devs"), "owner", "developer")
    await refused(devs, lambda s, a: teams.list_teams_with_members(s, a, n=10), "owner", "developer")
    auditor = await actor(devs, "auditor")
    found = await teams.show_team_details(devs.services, auditor, "devs")
    assert [member.name for member in found.members] == ["developer"]
    assert [(grant.project, grant.role) for grant in found.grants] == [("acme", "puller")]
    both = await teams.list_teams_with_members(devs.services, auditor, n=10)
    assert [(one.name, len(members)) for one, members in both] == [("apart", 0), ("devs", 1)]


async def test_who_manages_members_chooses_from_all(devs: Registry) -> None:
    await refused(
        devs, lambda s, a: teams.list_teams_to_add(s, a, project="acme", n=10), "developer", "stranger"
    )
    owner = await actor(devs, "owner")
    assert len(await teams.list_teams_to_add(devs.services, owner, project="acme", n=10)) == 2


async def test_what_fails_leaves_nothing_behind(devs: Registry) -> None:
    root = await actor(devs, "root")
    before = await audit_rows(devs)
    for use, error in (
        (teams.create_team(devs.services, root, name="devs"), AlreadyExists),
        (teams.change_team(devs.services, root, "devs", {}, expected_version=99), VersionMismatch),
        (teams.add_member(devs.services, root, "devs", "nobody"), Unknown),
        (teams.remove_member(devs.services, root, "devs", "owner"), Unknown),
    ):
        with pytest.raises(error):
            await use
    assert await audit_rows(devs) == before
