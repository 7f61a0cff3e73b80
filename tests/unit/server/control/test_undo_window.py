"""What was deleted too long ago is not brought back: collection may have begun to remove what is in it."""

import pytest
from sqlalchemy import Connection, update

from entrepot.errors import Conflict
from entrepot.server.control import deletion, projects, repositories
from entrepot.server.db.clock import microseconds
from entrepot.server.db.tables import project, repo
from entrepot.server.upkeep.collection.collect import GcSettings, collect
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR
from tests.unit.server.control.people_and_rows import everything

pytestmark = pytest.mark.anyio

APP = "acme/app"


async def deleted_before(registry: Registry, seconds: float) -> None:
    """What is deleted now was so long ago."""
    earlier = microseconds(seconds)

    def age(connection: Connection) -> None:
        for table in (project, repo):
            connection.execute(update(table).values(deleted_at=table.c.deleted_at - earlier))

    await registry.services.catalog.write(age)


async def test_a_repository_whose_undo_window_is_over_stays_deleted(team: Registry) -> None:
    window = team.services.config.gc.undo_window
    await deletion.delete_repository(team.services, OPERATOR, APP)
    await deleted_before(team, window + 1)
    before = await everything(team)
    with pytest.raises(Conflict, match="undo window is over"):
        await deletion.restore_repository(team.services, OPERATOR, APP)
    assert await everything(team) == before
    assert await deletion.list_undoable(team.services, OPERATOR) == []


async def test_one_that_collection_may_begin_with_any_moment_stays_deleted(team: Registry) -> None:
    window = team.services.config.gc.undo_window
    await deletion.delete_repository(team.services, OPERATOR, APP)
    await deleted_before(team, window - 10)
    with pytest.raises(Conflict, match="undo window is over"):
        await deletion.restore_repository(team.services, OPERATOR, APP)


async def test_one_that_comes_back_has_its_tags(team: Registry) -> None:
    window = team.services.config.gc.undo_window
    await deletion.delete_repository(team.services, OPERATOR, APP)
    await deleted_before(team, window - 3600)
    await collect(team.services.catalog, GcSettings(undo_window_s=window))
    [found] = await deletion.list_undoable(team.services, OPERATOR)
    assert found.name == APP
    await deletion.restore_repository(team.services, OPERATOR, APP)
    assert (await repositories.show_repository(team.services, OPERATOR, APP)).row.tags == 1


async def test_a_project_whose_undo_window_is_over_stays_deleted(team: Registry) -> None:
    window = team.services.config.gc.undo_window
    await projects.delete_project(team.services, OPERATOR, "acme")
    await deleted_before(team, window + 1)
    before = await everything(team)
    with pytest.raises(Conflict, match="undo window is over"):
        await projects.restore_project(team.services, OPERATOR, "acme")
    assert await everything(team) == before
    assert await deletion.list_undoable(team.services, OPERATOR) == []
