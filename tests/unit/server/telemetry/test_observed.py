"""Calls are measured, slow ones logged, and nothing else changes."""

import logging

import pytest
from sqlalchemy import Connection

from entrepot.oci.digest import Digest
from entrepot.server.compose import build
from entrepot.server.config.model import Config, ServerSection
from entrepot.server.db.observed import observed_catalog
from entrepot.server.process.jobs_process import make_job_runner
from entrepot.server.storage.observed import observed_store
from entrepot.server.storage.store import BlobStore
from entrepot.server.telemetry.metrics import Metrics
from entrepot.server.telemetry.watch import unwrapped
from entrepot.server.upkeep.figures import ClusterFigures, read_state
from entrepot.server.upkeep.nodes import NodeBeat, list_nodes
from entrepot.server.upkeep.runner import job_table
from tests.unit.server.conftest import Places
from tests.unit.server.world import World

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
    assert isinstance(unwrapped(store), BlobStore)


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


async def test_every_server_tells_what_the_last_scrub_has_found_lost(world: World) -> None:
    """Whichever node scrubbed, and also after a restart: an alarm must neither stay nor go for that."""
    metrics = Metrics()
    figures = ClusterFigures(world.catalog, {}, metrics.gauge)
    await figures.look()
    assert "entrepot_blobs_lost 0" in metrics.render().decode()

    def scrubbed(connection: Connection, lost: int) -> None:
        now = world.catalog.clock.steady()
        job_table.enqueue(connection, "scrub", key=None, payload={}, run_at=now, now=now)
        taken = job_table.claim(connection, ["scrub"], by="another node", now=now, leased_until=now + 1)
        assert taken is not None
        job_table.finish(connection, taken.id, by="another node", now=now, result={"lost": lost})

    for lost in (3, 0):
        await world.catalog.write(scrubbed, lost)
        await figures.look()
        assert f"entrepot_blobs_lost {lost}" in metrics.render().decode()


async def test_counters_of_damage_begin_at_nothing(world: World) -> None:
    """A rate over time sees no step where a counter first shows itself at 1, so no alarm would come."""
    services = await build(Config(server=ServerSection(data=world.root.parent)), "open")
    try:
        make_job_runner(services)
        text = services.metrics.render().decode()
    finally:
        await services.close()
    for name in ("scrub_bytes", "scrub_damaged", "scrub_repaired", "orphans_found"):
        assert f"entrepot_{name}_total 0" in text
