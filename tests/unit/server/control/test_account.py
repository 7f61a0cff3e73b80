"""What somebody does to their own account, and for what they have to be there in person."""

from dataclasses import replace

import pytest

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import (
    InvalidCredentials,
    InvalidPassword,
    PermitRefused,
    Unknown,
    VersionMismatch,
)
from entrepot.server.control import account, sign_in, tokens
from tests.unit.server.api.conftest import PASSWORD, Registry
from tests.unit.server.control.conftest import NOBODY, UseCase, actor, audit_rows

pytestmark = pytest.mark.anyio

NEW = "another horse battery"
IN_PERSON: dict[str, UseCase] = {
    "change": lambda s, a: account.change_self(s, a, {"email": "p@example.org"}),
    "password": lambda s, a: account.change_password(s, a, current=PASSWORD, new=NEW),
    "sessions": account.list_sessions,
    "end": lambda s, a: account.end_session(s, a, "0" * 12),
    "end others": account.end_other_sessions,
}


async def signed_in(team: Registry, name: str) -> Actor:
    """In a browser: with a session of their own."""
    who = await actor(team, name)
    done = await sign_in.sign_in(team.services, who, name=name, password=PASSWORD, user_agent="test")
    assert team.services.accounts is not None
    found = await team.services.accounts.authenticator.secret(
        done.session, kinds=("ses",), address=who.address
    )
    return Actor(found, who.address)


@pytest.mark.parametrize("name", IN_PERSON)
async def test_a_token_or_robot_does_not_do_it(team: Registry, name: str) -> None:
    before = await audit_rows(team)
    for who in (
        await actor(team, "puller", credential="pat"),
        await actor(team, "puller", credential="bearer"),
        await actor(team, "acme+ci", credential="robot"),
    ):
        with pytest.raises(PermitRefused, match="sign in with a password"):
            await IN_PERSON[name](team.services, who)
    with pytest.raises(InvalidCredentials):
        await IN_PERSON[name](team.services, NOBODY)
    assert await audit_rows(team) == before


async def test_everybody_sees_themselves(team: Registry) -> None:
    for name in ("stranger", "acme+ci"):
        assert (await account.show_self(team.services, await actor(team, name))).name == name
    with pytest.raises(InvalidCredentials):
        await account.show_self(team.services, NOBODY)


async def test_name_and_address_are_ones_own_to_change_and_nothing_else(team: Registry) -> None:
    puller = await actor(team, "puller")
    seen = await account.show_self(team.services, puller)
    changed = await account.change_self(
        team.services, puller, {"display_name": "Pat"}, expected_version=seen.version
    )
    assert changed.display_name == "Pat"
    before = await audit_rows(team)
    with pytest.raises(VersionMismatch):
        await account.change_self(
            team.services, puller, {"display_name": "Mat"}, expected_version=seen.version
        )
    with pytest.raises(ValueError, match="system_role"):
        await account.change_self(team.services, puller, {"system_role": "admin"})
    assert await audit_rows(team) == before


async def test_a_new_password_takes_the_present_one(team: Registry) -> None:
    puller = await actor(team, "puller")
    token = (await tokens.create_own_token(team.services, puller, name="laptop")).secret
    epoch = (await account.show_self(team.services, puller)).epoch
    for current, new, error in (
        ("a wrong horse", NEW, InvalidCredentials),
        (token, NEW, InvalidCredentials),
        (PASSWORD, "short", InvalidPassword),
    ):
        with pytest.raises(error):
            await account.change_password(team.services, puller, current=current, new=new)
        assert (await account.show_self(team.services, puller)).epoch == epoch
    who = await account.change_password(team.services, puller, current=PASSWORD, new=NEW)
    assert (who.name, who.epoch) == ("puller", epoch + 1)
    done = await sign_in.sign_in(team.services, puller, name="puller", password=NEW, user_agent="")
    assert done.who.name == "puller"


async def test_a_new_password_ends_sessions(team: Registry) -> None:
    puller = await signed_in(team, "puller")
    who = await account.change_password(team.services, puller, current=PASSWORD, new=NEW)
    assert await account.list_sessions(team.services, replace(puller, principal=who)) == []


async def test_one_ends_ones_own_sessions_alone(team: Registry) -> None:
    first, second, third = [await signed_in(team, name) for name in ("puller", "puller", "owner")]
    ids = {s.id for s in await account.list_sessions(team.services, first)}
    assert ids == {first.principal.token_id, second.principal.token_id}
    assert second.principal.token_id is not None
    with pytest.raises(Unknown):
        await account.end_session(team.services, third, second.principal.token_id)
    made = await tokens.create_own_token(team.services, first, name="laptop")
    with pytest.raises(InvalidInput, match="another kind"):
        await account.end_session(team.services, first, made.token.id)
    await account.end_other_sessions(team.services, first)
    (left,) = await account.list_sessions(team.services, first)
    assert left.id == first.principal.token_id
    assert len(await account.list_sessions(team.services, third)) == 1
    await account.end_session(team.services, first, left.id)
    assert await account.list_sessions(team.services, await actor(team, "puller")) == []


async def test_only_a_robot_with_its_secret_gives_itself_another(team: Registry) -> None:
    before = await audit_rows(team)
    for name, credential in (("puller", "password"), ("root", "password"), ("acme+ci", "bearer")):
        who = await actor(team, name, credential=credential)
        with pytest.raises(PermitRefused, match="only a robot with its secret"):
            await account.rotate_own_secret(team.services, who)
    assert await audit_rows(team) == before
    robot = await actor(team, "acme+ci", credential="robot")
    made = await account.rotate_own_secret(team.services, robot)
    assert made.robot.name == "acme+ci"
    assert made.secret != team.secrets["acme+ci"]
