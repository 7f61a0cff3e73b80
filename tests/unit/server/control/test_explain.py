"""Who may ask about whom."""

import pytest

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.errors import InvalidCredentials, PermitRefused, Unknown
from entrepot.server.access.decision.model import Resource
from entrepot.server.control.explain import Explanation, explain
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import NOBODY, OPERATOR, actor

pytestmark = pytest.mark.anyio

APP = Resource(repository="acme/app")


async def ask(team: Registry, name: str, about: str, action: str = "pull", on: Resource = APP) -> Explanation:
    return await explain(team.services, await actor(team, name), about, action, on)


async def test_who_sees_the_registry_asks_about_everybody(team: Registry) -> None:
    for name in ("root", "auditor"):
        found = await ask(team, name, "stranger")
        assert not found.decision.allowed
        assert "system role: none" in found.steps
    assert (await explain(team.services, OPERATOR, "root", "pull", APP)).decision.allowed


async def test_everybody_asks_about_themselves(team: Registry) -> None:
    found = await ask(team, "stranger", "stranger")
    assert found.steps[-1] == "no grant in acme, or there is no such project"
    assert (await ask(team, "puller", "puller")).decision.allowed


async def test_who_sees_members_asks_about_them_alone(team: Registry) -> None:
    assert (await ask(team, "owner", "puller")).decision.allowed
    with pytest.raises(Unknown, match="nobody called root has a role in this project"):
        await ask(team, "owner", "root")


async def test_others_ask_about_nobody_else(team: Registry) -> None:
    for name in ("stranger", "acme+ci"):
        with pytest.raises(PermitRefused):
            await ask(team, name, "puller")
    with pytest.raises(PermitRefused):
        await ask(team, "owner", "puller", on=Resource())
    with pytest.raises(InvalidCredentials):
        await explain(team.services, NOBODY, "puller", "pull", APP)


async def test_a_refused_one_does_not_hear_whether_there_is_such_an_action(team: Registry) -> None:
    with pytest.raises(PermitRefused):
        await ask(team, "stranger", "puller", "fly")
    with pytest.raises(InvalidInput, match="no action is called fly"):
        await ask(team, "root", "puller", "fly")
