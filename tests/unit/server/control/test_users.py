"""Who makes, changes, lets in and deletes users, and for what they have to be there in person."""

import pytest

from entrepot.errors import Conflict
from entrepot.server.access.decision.errors import (
    AlreadyExists,
    InvalidCredentials,
    InvalidPassword,
    PermitRefused,
    Unknown,
    VersionMismatch,
)
from entrepot.server.access.decision.model import SystemRole
from entrepot.server.control import users
from tests.unit.server.api.conftest import PASSWORD, Registry
from tests.unit.server.control.conftest import NOBODY, OPERATOR, UseCase, actor, audit_rows, refused

pytestmark = pytest.mark.anyio

CHANGES: dict[str, UseCase] = {
    "create": lambda s, a: users.create_user(s, a, name="new"),
    "create with a password": lambda s, a: users.create_user(s, a, name="new", password=PASSWORD),
    "invite": lambda s, a: users.invite_user(s, a, name="new"),
    "change": lambda s, a: users.change_user(s, a, "puller", {"enabled": False}),
    "promote": lambda s, a: users.change_user(s, a, "stranger", {"system_role": "admin"}),
    "delete": lambda s, a: users.delete_user(s, a, "puller"),
    "password": lambda s, a: users.set_password(s, a, "puller", "another horse battery"),
    "link": lambda s, a: users.make_setup_link(s, a, "puller"),
    "unlock": lambda s, a: users.unlock_user(s, a, "puller"),
    "identity": lambda s, a: users.link_identity(s, a, "puller", source="corp", subject="42"),
}
IN_PERSON = ("create with a password", "invite", "promote", "password", "link", "identity")
LOOKS: dict[str, UseCase] = {
    "list": users.list_users,
    "show": lambda s, a: users.show_user(s, a, "puller"),
    "details": lambda s, a: users.show_user_details(s, a, "puller"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_only_admins_change_users(team: Registry, name: str) -> None:
    await refused(team, CHANGES[name], "owner", "auditor", "stranger", "acme+ci")
    with pytest.raises(InvalidCredentials):
        await CHANGES[name](team.services, NOBODY)
    before = await audit_rows(team)
    await CHANGES[name](team.services, await actor(team, "root"))
    assert await audit_rows(team) > before


@pytest.mark.parametrize("name", CHANGES)
async def test_what_makes_a_way_in_takes_the_admin_in_person(team: Registry, name: str) -> None:
    by_token = await actor(team, "root", credential="pat")
    before = await audit_rows(team)
    if name not in IN_PERSON:
        await CHANGES[name](team.services, by_token)
        return
    with pytest.raises(PermitRefused, match="sign in with a password"):
        await CHANGES[name](team.services, by_token)
    assert await audit_rows(team) == before


@pytest.mark.parametrize("name", CHANGES)
async def test_the_operator_is_there_in_person(team: Registry, name: str) -> None:
    await CHANGES[name](team.services, OPERATOR)


@pytest.mark.parametrize("name", LOOKS)
async def test_who_may_see_the_registry_sees_users(team: Registry, name: str) -> None:
    await refused(team, LOOKS[name], "owner", "stranger", "acme+ci")
    for who in ("root", "auditor"):
        await LOOKS[name](team.services, await actor(team, who))


async def test_nobody_makes_the_server_hash_before_leave_is_given(team: Registry) -> None:
    """A password that would be refused is not even looked at."""
    stranger = await actor(team, "stranger")
    with pytest.raises(PermitRefused):
        await users.create_user(team.services, stranger, name="new", password="short")
    with pytest.raises(PermitRefused):
        await users.set_password(team.services, stranger, "puller", "short")


async def test_an_invitation_that_fails_leaves_nothing_behind(team: Registry) -> None:
    before = await audit_rows(team)
    root = await actor(team, "root")
    with pytest.raises(AlreadyExists):
        await users.invite_user(team.services, root, name="puller")
    with pytest.raises(InvalidPassword):
        await users.create_user(team.services, root, name="new", password="short")
    assert await audit_rows(team) == before
    with pytest.raises(Unknown):
        await users.show_user(team.services, root, "new")


async def test_the_last_admin_stays(team: Registry) -> None:
    before = await audit_rows(team)
    for use in (
        lambda: users.delete_user(team.services, OPERATOR, "root"),
        lambda: users.change_user(team.services, OPERATOR, "root", {"system_role": None}),
        lambda: users.change_user(team.services, OPERATOR, "root", {"enabled": False}),
    ):
        await users.change_user(team.services, OPERATOR, "admin", {"enabled": False})
        before = await audit_rows(team)
        with pytest.raises(Conflict, match="last admin"):
            await use()
        assert await audit_rows(team) == before


async def test_a_change_of_an_older_version_is_refused(team: Registry) -> None:
    root = await actor(team, "root")
    seen = await users.show_user(team.services, root, "puller")
    await users.change_user(team.services, root, "puller", {"email": "a@b"}, expected_version=seen.version)
    with pytest.raises(VersionMismatch):
        await users.change_user(
            team.services, root, "puller", {"email": "c@d"}, expected_version=seen.version
        )
    assert (await users.show_user(team.services, root, "puller")).email == "a@b"


async def test_details_tell_all_that_a_user_has(team: Registry) -> None:
    made = await users.create_user(
        team.services, OPERATOR, name="boss", system_role=SystemRole.AUDITOR, may_create_projects=True
    )
    assert (made.system_role, made.may_create_projects, made.has_password) == ("auditor", True, False)
    found = await users.show_user_details(team.services, OPERATOR, "puller")
    assert [(grant.project, grant.role) for grant in found.grants] == [("acme", "puller")]
    assert (found.tokens, found.teams) == ([], [])
