"""Which nodes are listed, and for how long."""

import pytest

from entrepot.server.upkeep.nodes import SILENT_S, SUCCEEDED_S, ClusterNode, NodeBeat, forget_node, list_nodes
from tests.unit.server.world import World

pytestmark = pytest.mark.anyio


async def no_problems() -> dict[str, str]:
    return {}


async def beat(world: World, pid: int, listen: str = ":5000") -> NodeBeat:
    made = NodeBeat(world.catalog, version="1", listen=(listen,), problems=no_problems, pid=pid)
    await again(world, made)
    return made


async def again(world: World, node: NodeBeat) -> None:
    await world.catalog.write(node._beat, world.clock.steady(), {})


async def listed(world: World) -> set[str]:
    nodes: list[ClusterNode] = await world.catalog.read(list_nodes, world.clock.steady())
    return {one.id for one in nodes}


async def test_a_killed_node_is_forgotten_once_another_has_its_place(world: World) -> None:
    """C1, C9: after kill -9 the old id must not alarm for a day."""
    killed = await beat(world, 1)
    world.clock.advance(10)
    successor = await beat(world, 2)
    assert await listed(world) == {killed.id, successor.id}
    world.clock.advance(SUCCEEDED_S + 1)
    await again(world, successor)
    assert await listed(world) == {successor.id}


async def test_a_neighbour_on_the_same_machine_is_no_successor(world: World) -> None:
    """C1: who was there beside it, or listens elsewhere, has not taken its place."""
    beside = await beat(world, 1)
    killed = await beat(world, 2)
    world.clock.advance(10)
    elsewhere = await beat(world, 3, ":6000")
    world.clock.advance(SUCCEEDED_S + 1)
    await again(world, beside)
    await again(world, elsewhere)
    assert killed.id in await listed(world)


async def test_a_node_that_comes_back_is_listed_again(world: World) -> None:
    """C9: it was only frozen."""
    frozen = await beat(world, 1)
    world.clock.advance(10)
    successor = await beat(world, 2)
    world.clock.advance(SUCCEEDED_S + 1)
    await again(world, successor)
    await again(world, frozen)
    assert await listed(world) == {frozen.id, successor.id}


async def test_only_a_silent_node_is_forgotten_by_hand(world: World) -> None:
    node = await beat(world, 1)

    async def forget(name: str) -> str | None:
        found: ClusterNode | None = await world.catalog.write(forget_node, name, world.clock.steady())
        return None if found is None else found.state

    assert await forget(node.id) == "alive"
    assert await listed(world) == {node.id}
    assert await forget("nobody") is None
    world.clock.advance(SILENT_S + 1)
    assert await forget(node.id) == "silent"
    assert await listed(world) == set()
