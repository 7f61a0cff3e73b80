"""Who may take a node off the list, and which."""

import pytest

from entrepot.errors import Conflict, NotFound
from entrepot.server.access.decision.actor import Actor
from entrepot.server.control.health import forget_node, list_nodes
from entrepot.server.control.services import Services
from entrepot.server.upkeep.nodes import SILENT_S, NodeBeat
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR, refused

pytestmark = pytest.mark.anyio


async def no_problems() -> dict[str, str]:
    return {}


async def beat(team: Registry, pid: int, *, ago_s: float) -> str:
    catalog = team.services.catalog
    node = NodeBeat(catalog, version="1", problems=no_problems, pid=pid)
    await catalog.write(node._beat, catalog.clock.steady() - round(ago_s * 1_000_000), {})
    return node.id


async def test_only_a_silent_node_is_forgotten_and_by_who_manages_the_registry(team: Registry) -> None:
    gone, there = await beat(team, 1, ago_s=2 * SILENT_S), await beat(team, 2, ago_s=0)

    async def forget(services: Services, actor: Actor) -> None:
        await forget_node(services, actor, gone)

    await refused(team, forget, "owner", "auditor", "stranger", "acme+ci")
    with pytest.raises(Conflict, match="alive"):
        await forget_node(team.services, OPERATOR, there)
    await forget_node(team.services, OPERATOR, gone)
    assert [node.id for node in await list_nodes(team.services, OPERATOR)] == [there]
    with pytest.raises(NotFound, match="no node"):
        await forget_node(team.services, OPERATOR, gone)
