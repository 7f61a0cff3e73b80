"""What is deleted is not read any more, though its rows are kept for undo."""

import pytest

from entrepot.errors import NotFound
from entrepot.server.control import deletion, repositories
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR, UseCase, actor

pytestmark = pytest.mark.anyio

USES: dict[str, UseCase] = {
    "show": lambda s, a: repositories.show_repository(s, a, "acme/app"),
    "profile": lambda s, a: repositories.show_profile(s, a, "acme/app"),
    "star": lambda s, a: repositories.set_star(s, a, "acme/app", starred=True),
}


@pytest.mark.parametrize("name", USES)
async def test_a_deleted_repository_is_not_found(team: Registry, name: str) -> None:
    puller = await actor(team, "puller")
    await USES[name](team.services, puller)
    await deletion.delete_repository(team.services, OPERATOR, "acme/app")
    with pytest.raises(NotFound):
        await USES[name](team.services, puller)


async def test_one_made_again_under_its_name_is_the_one_found(team: Registry) -> None:
    await deletion.delete_repository(team.services, OPERATOR, "acme/app")
    await team.push("acme/app", "v2")
    puller = await actor(team, "puller")
    found = await repositories.show_repository(team.services, puller, "acme/app")
    assert found.row.tags == 1
