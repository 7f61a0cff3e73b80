"""Who gets a session, from what."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from entrepot.server.access.decision.errors import (
    InvalidCredentials,
    InvalidPassword,
    PermitRefused,
    Unknown,
)
from entrepot.server.access.decision.model import Principal
from entrepot.server.access.directory.first_start import setup_link
from entrepot.server.access.open_mode import OpenPolicy
from entrepot.server.control import sign_in
from entrepot.server.db.tables.access import access_token
from tests.unit.server.api.conftest import PASSWORD, Registry
from tests.unit.server.control.conftest import NOBODY, OPERATOR, actor, audit_rows

pytestmark = pytest.mark.anyio


async def holder(team: Registry, session: str) -> Principal:
    assert team.services.accounts is not None
    return await team.services.accounts.authenticator.secret(session, kinds=("ses",), address=None)


async def sessions(team: Registry) -> int:
    count = select(func.count()).select_from(access_token).where(access_token.c.kind == "ses")
    return int(await team.services.catalog.read(lambda c: c.execute(count).scalar_one()))


async def link_for(team: Registry, name: str) -> str:
    def write(connection: object) -> str:
        return str(setup_link(connection, OPERATOR, name, team.now))  # type: ignore[arg-type]

    return str(await team.services.catalog.write(write))


async def test_a_password_makes_a_session_and_signing_out_ends_it(team: Registry) -> None:
    done = await sign_in.sign_in(team.services, NOBODY, name="owner", password=PASSWORD, user_agent="test")
    who = await holder(team, done.session)
    assert who.name == "owner"
    await sign_in.sign_out(team.services, replace(NOBODY, principal=who))
    with pytest.raises(InvalidCredentials):
        await holder(team, done.session)


async def test_only_a_user_s_password_does(team: Registry) -> None:
    owner = await actor(team, "owner")
    token = await team.token(owner.principal)
    for name, secret in (("acme+ci", team.secrets["acme+ci"]), ("owner", token)):
        with pytest.raises(sign_in.NotAUser):
            await sign_in.sign_in(team.services, NOBODY, name=name, password=secret, user_agent="")
    with pytest.raises(InvalidCredentials):
        await sign_in.sign_in(team.services, NOBODY, name="owner", password="wrong", user_agent="")
    assert await sessions(team) == 0


async def test_nobody_signs_out_without_being_there(team: Registry) -> None:
    before = await audit_rows(team)
    with pytest.raises(InvalidCredentials):
        await sign_in.sign_out(team.services, NOBODY)
    assert await audit_rows(team) == before


async def test_a_set_up_link_works_once(team: Registry) -> None:
    link = await link_for(team, "puller")
    chosen = {"token": link, "password": "another good one", "user_agent": ""}
    done = await sign_in.choose_password(team.services, NOBODY, **chosen)
    assert (await holder(team, done.session)).name == "puller"
    again = await sign_in.sign_in(
        team.services, NOBODY, name="puller", password=chosen["password"], user_agent=""
    )
    assert again.who.id == done.who.id
    with pytest.raises(InvalidCredentials):
        await sign_in.choose_password(team.services, NOBODY, **chosen)


async def test_a_bad_password_leaves_the_link_as_it_was(team: Registry) -> None:
    link = await link_for(team, "puller")
    before = await audit_rows(team)
    with pytest.raises(InvalidPassword):
        await sign_in.choose_password(team.services, NOBODY, token=link, password="short", user_agent="")
    assert await audit_rows(team) == before
    assert (await sign_in.find_link_holder(team.services, NOBODY, link)).name == "puller"


async def test_a_provider_has_to_be_known_and_the_way_begun_here(team: Registry) -> None:
    assert sign_in.list_providers(team.services) == []
    with pytest.raises(Unknown):
        await sign_in.begin_at_provider(team.services, "sso", redirect_uri="http://here/back", then="/")
    with pytest.raises(Unknown):
        sign_in.open_visitor(team.services, "sso", "00")


async def test_an_open_registry_signs_nobody_in(team: Registry) -> None:
    open_one = replace(team.services, access=OpenPolicy(), mode="open")
    with pytest.raises(PermitRefused, match="no accounts"):
        await sign_in.sign_in(open_one, NOBODY, name="owner", password=PASSWORD, user_agent="")
    assert sign_in.list_providers(open_one) == []
