"""Who sees and changes the registry's settings, and what of it is written down."""

import pytest

from entrepot.errors import InvalidInput
from entrepot.server.control.settings import change_settings, show_settings
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR, actor, audit_rows, refused

pytestmark = pytest.mark.anyio


async def test_admins_and_operators_change_them(team: Registry) -> None:
    root = await actor(team, "root")
    changed = await change_settings(team.services, root, project_creation="signed-in", read_only=True)
    assert (changed.project_creation, changed.read_only) == ("signed-in", True)
    changed = await change_settings(team.services, OPERATOR, read_only=False)
    assert (changed.project_creation, changed.read_only) == ("signed-in", False)
    assert await show_settings(team.services, await actor(team, "auditor")) == changed


async def test_others_do_not(team: Registry) -> None:
    await refused(
        team, lambda s, a: change_settings(s, a, read_only=True), "owner", "auditor", "stranger", "acme+ci"
    )
    await refused(team, show_settings, "owner", "stranger")


async def test_what_is_so_already_is_not_recorded(team: Registry) -> None:
    before = await audit_rows(team)
    await change_settings(team.services, OPERATOR, project_creation="admins", read_only=False)
    assert await audit_rows(team) == before


async def test_a_change_that_fails_leaves_nothing_behind(team: Registry) -> None:
    before = await audit_rows(team)
    with pytest.raises(InvalidInput):
        await change_settings(team.services, OPERATOR, read_only=True, project_creation="everybody")
    assert not (await show_settings(team.services, OPERATOR)).read_only
    assert await audit_rows(team) == before
