"""Calls are measured, slow ones logged, and nothing else changes."""

import logging

import pytest
from sqlalchemy import Connection

from entrepot.oci.digest import Digest
from entrepot.server.metrics import Metrics
from entrepot.server.operations.figures import ClusterFigures, read_state
from entrepot.server.operations.nodes import NodeBeat, list_nodes
from entrepot.server.operations.observed import observed_catalog, observed_store, unwrapped
from entrepot.server.storage.filesystem import FilesystemStore
from tests.unit.server.jobs.world import World
from tests.unit.server.operations.conftest import Places

pytestmark = pytest.mark.anyio


def one(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT 1").scalar_one())


async def test_calls_are_counted_and_slow_ones_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    catalog = observed_catalog(world.catalog, metrics.histogram, slow_s=1e-9)
    store = observed_store(world.store, metrics.histogram, slow_s=1e-9)
    with caplog.at_level(logging.WARNING):
        assert await catalog.read(one) == 1
        assert await catalog.write(one, durable=False) == 1
        phys = await store.put(Digest.of(b"x"), b"x")
        assert await store.size(phys) == 1
        await store.delete(phys)
    events = [record.getMessage() for record in caplog.records]
    assert events.count("slow query") == 2
    assert events.count("slow store") == 3
    text = metrics.render().decode()
    assert 'entrepot_catalog_seconds_count{call="read"} 1' in text
    assert 'entrepot_catalog_seconds_count{call="write"} 1' in text
    assert 'entrepot_store_seconds_count{call="delete"} 1' in text
    assert catalog.dialect == "sqlite"
    assert catalog.clock is world.catalog.clock
    assert isinstance(unwrapped(store), FilesystemStore)


async def test_zero_logs_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    catalog = observed_catalog(world.catalog, Metrics().histogram, slow_s=0)
    with caplog.at_level(logging.WARNING):
        await catalog.read(one)
    assert caplog.records == []


async def test_nodes_are_alive_until_they_are_silent(world: World) -> None:
    problems = {"store": "it is full"}

    async def find_problems() -> dict[str, str]:
        return problems

    beat = NodeBeat(world.catalog, version="1", listen=(":5000",), problems=find_problems, pid=7)
    beat_once = beat._beat
    await world.catalog.write(beat_once, world.clock.steady(), problems)
    (node,) = await world.catalog.read(list_nodes, world.clock.steady())
    assert (node.role, node.state, node.is_healthy) == ("serve", "alive", False)
    await world.catalog.write(beat_once, world.clock.steady(), {})
    (node,) = await world.catalog.read(list_nodes, world.clock.steady())
    assert node.is_healthy
    world.clock.advance(3600)
    (node,) = await world.catalog.read(list_nodes, world.clock.steady())
    assert (node.state, node.is_healthy) == ("silent", False)
    await beat.leave()
    assert await world.catalog.read(list_nodes, world.clock.steady()) == []


async def test_figures_of_the_whole_registry(places: Places, world: World) -> None:
    await world.push_image(b"layer")
    metrics = Metrics()

    async def works() -> None:
        return None

    async def fails() -> None:
        raise OSError("no")

    figures = ClusterFigures(world.catalog, {"catalog": works, "store": fails}, metrics.gauge)
    await figures.look()
    text = metrics.render().decode()
    assert 'entrepot_part_up{part="catalog"} 1' in text
    assert 'entrepot_part_up{part="store"} 0' in text
    assert "entrepot_events_waiting 0" not in text
    cluster = places.side("postgresql", "folder", "cluster")
    state = await cluster.catalog.read(read_state, cluster.catalog.clock.steady())
    assert state.used_bytes == 0
