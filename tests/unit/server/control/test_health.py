"""Who sees how the registry is, and what it holds."""

import pytest

from entrepot.server.access.decision.errors import PermitRefused
from entrepot.server.control.health import list_nodes, show_health
from entrepot.server.control.projects import delete_project
from entrepot.server.control.repositories import biggest_repositories
from entrepot.server.control.settings import change_settings
from entrepot.server.control.storage import show_storage
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR, actor, refused

pytestmark = pytest.mark.anyio


async def test_parts_are_well_until_the_catalog_is_damaged(team: Registry) -> None:
    auditor = await actor(team, "auditor")
    found = await show_health(team.services, auditor)
    assert [(part.name, part.problem) for part in found.parts] == [("catalog", ""), ("store", "")]
    assert not found.is_read_only
    await change_settings(team.services, OPERATOR, read_only=True)
    assert (await show_health(team.services, auditor)).is_read_only
    assert await list_nodes(team.services, auditor) == found.state.nodes


async def test_storage_tells_what_was_deleted_whole(team: Registry) -> None:
    await delete_project(team.services, await actor(team, "owner"), "acme")
    figures, gone = await show_storage(team.services, await actor(team, "auditor"))
    assert figures.blobs > 0
    assert [(item.kind, item.name) for item in gone] == [("project", "acme")]


async def test_others_do_not_see_it(team: Registry) -> None:
    for use in (show_health, list_nodes, show_storage):
        await refused(team, use, "owner", "stranger", "acme+ci")


async def test_a_project_s_biggest_repositories_are_told_to_who_manages_it(team: Registry) -> None:
    owner = await actor(team, "owner")
    ((name, size),) = await biggest_repositories(team.services, owner, "acme", n=5)
    assert (name, size > 0) == ("acme/app", True)
    with pytest.raises(PermitRefused):
        await biggest_repositories(team.services, await actor(team, "developer"), "acme", n=5)
