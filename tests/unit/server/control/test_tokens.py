"""Who makes and revokes whose tokens."""

import pytest

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.errors import (
    InvalidCredentials,
    InvalidPattern,
    PermitRefused,
    Unknown,
)
from entrepot.server.control import robots, tokens
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import NOBODY, OPERATOR, actor, audit_rows, refused

pytestmark = pytest.mark.anyio


async def test_a_user_makes_their_own_in_person(team: Registry) -> None:
    puller = await actor(team, "puller")
    made = await tokens.create_own_token(team.services, puller, name="laptop", actions=["pull"])
    assert (made.token.owner, made.token.name, made.token.actions) == ("puller", "laptop", ("pull",))
    assert await tokens.list_own_tokens(team.services, puller) == [made.token]
    assert made.secret.startswith("ent_pat_")


async def test_a_token_makes_no_token(team: Registry) -> None:
    before = await audit_rows(team)
    for name, credential in (("puller", "pat"), ("acme+ci", "robot"), ("acme+ci", "password")):
        who = await actor(team, name, credential=credential)
        with pytest.raises(PermitRefused, match="sign in with a password"):
            await tokens.create_own_token(team.services, who, name="more")
    with pytest.raises(InvalidCredentials):
        await tokens.create_own_token(team.services, NOBODY, name="more")
    assert await audit_rows(team) == before


async def test_one_that_can_not_be_is_not_made(team: Registry) -> None:
    puller = await actor(team, "puller")
    before = await audit_rows(team)
    with pytest.raises(InvalidPattern):
        await tokens.create_own_token(team.services, puller, name="odd", repositories=["Ac me/**"])
    assert await audit_rows(team) == before
    assert await tokens.list_own_tokens(team.services, puller) == []


async def test_one_revokes_ones_own_alone(team: Registry) -> None:
    puller, owner = await actor(team, "puller"), await actor(team, "owner")
    made = await tokens.create_own_token(team.services, puller, name="laptop")
    before = await audit_rows(team)
    with pytest.raises(Unknown):
        await tokens.revoke_own_token(team.services, owner, made.token.id)
    with pytest.raises(InvalidCredentials):
        await tokens.revoke_own_token(team.services, NOBODY, made.token.id)
    assert await audit_rows(team) == before
    await tokens.revoke_own_token(team.services, puller, made.token.id, personal=True)
    assert await tokens.list_own_tokens(team.services, puller) == []


async def test_a_robots_secret_is_no_personal_token(team: Registry) -> None:
    (secret,) = await tokens.list_credentials(team.services, OPERATOR, "acme+ci")
    robot = await actor(team, "acme+ci", credential="robot")
    with pytest.raises(InvalidInput, match="another kind"):
        await tokens.revoke_own_token(team.services, robot, secret.id, personal=True)
    assert await tokens.list_credentials(team.services, OPERATOR, "acme+ci") == [secret]


async def test_only_admins_make_one_of_somebody_else_and_in_person(team: Registry) -> None:
    async def make(services: object, who: object) -> object:
        return await tokens.create_token_of_user(services, who, "puller", name="x")  # type: ignore[arg-type]

    await refused(team, make, "owner", "auditor", "puller", "acme+ci")
    with pytest.raises(PermitRefused, match="sign in with a password"):
        await make(team.services, await actor(team, "root", credential="pat"))
    for who in (await actor(team, "root"), OPERATOR):
        await make(team.services, who)
    with pytest.raises(Unknown):
        await tokens.create_token_of_user(team.services, OPERATOR, "acme+ci", name="x")


async def test_only_admins_revoke_those_of_others(team: Registry) -> None:
    made = await tokens.create_token_of_user(team.services, OPERATOR, "puller", name="x")
    await refused(
        team,
        lambda s, a: tokens.revoke_token(s, a, made.token.id),
        "owner",
        "auditor",
        "stranger",
        "puller",
        "acme+ci",
    )
    root = await actor(team, "root", credential="pat")
    with pytest.raises(Unknown):
        await tokens.revoke_token(team.services, root, made.token.id, user="owner")
    await tokens.revoke_token(team.services, root, made.token.id, user="puller")
    assert await tokens.list_tokens_of_user(team.services, root, "puller") == []


async def test_who_may_see_the_registry_sees_those_of_others(team: Registry) -> None:
    await refused(team, lambda s, a: tokens.list_tokens_of_user(s, a, "puller"), "owner", "puller")
    await refused(team, lambda s, a: tokens.list_credentials(s, a, "acme+ci"), "owner", "acme+ci")
    await robots.rotate_secret(team.services, OPERATOR, "acme+ci", overlap=60_000_000)
    found = await tokens.list_credentials(team.services, await actor(team, "auditor"), "acme+ci")
    assert [credential.kind for credential in found] == ["rob", "rob"]
