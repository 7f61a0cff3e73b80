"""Jobs are run once, by one runner, again after a failure, and by another when a runner is gone."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Connection, select

from entrepot.errors import Unavailable
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.errors import CatalogFull, CatalogUnavailable
from entrepot.server.db.tables import job
from entrepot.server.upkeep.runner import job_table
from entrepot.server.upkeep.runner.job_runner import CATALOG_TRIES, JobContext, JobRunner, Periodic
from tests.unit.server.world import World, on_both

pytestmark = pytest.mark.anyio


async def queue(world: World, kind: str, key: str | None = None) -> int | None:
    def write(connection: Connection) -> int | None:
        now = world.clock.steady()
        return job_table.enqueue(connection, kind, key=key, payload={"n": 1}, run_at=now, now=now)

    return await world.catalog.write(write)


async def states(world: World) -> list[tuple[str, str]]:
    def read(connection: Connection) -> list[tuple[str, str]]:
        rows = connection.execute(select(job.c.kind, job.c.state).order_by(job.c.id))
        return [(row.kind, row.state) for row in rows]

    return await world.catalog.read(read)


class Recorder:
    def __init__(self, failures: int = 0) -> None:
        self.seen: list[Mapping[str, Any]] = []
        self.failures = failures

    async def __call__(self, context: JobContext) -> Mapping[str, Any]:
        self.seen.append(context.job.payload)
        await context.progress({"half": True})
        if len(self.seen) <= self.failures:
            raise Unavailable("the store is away")
        return {"ok": True}


@on_both
async def test_queued_job_runs_once_among_many_workers(world: World) -> None:
    recorder = Recorder()
    await queue(world, "work")
    runners = [JobRunner(world.catalog, {"work": recorder}) for _ in range(3)]
    ran = await asyncio.gather(*(runner.run_due() for runner in runners))
    assert sum(ran) == 1
    assert recorder.seen == [{"n": 1}]
    assert await states(world) == [("work", "done")]


async def test_job_of_the_same_key_is_queued_once(world: World) -> None:
    assert await queue(world, "work", "periodic") is not None
    assert await queue(world, "work", "periodic") is None
    assert await queue(world, "work") is not None


async def test_failed_job_runs_again_later(world: World) -> None:
    recorder = Recorder(failures=1)
    await queue(world, "work")
    runner = JobRunner(world.catalog, {"work": recorder})
    assert await runner.run_due() == 1
    assert await runner.run_due() == 0
    world.clock.advance(6)
    assert await runner.run_due() == 1
    assert await states(world) == [("work", "done")]


class FullCatalog:
    """The catalog of a world on a disk that is full for some time."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.refusals = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    async def write(self, *args: Any, **options: Any) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise CatalogFull("the disk is full")
        return await self._catalog.write(*args, **options)


async def test_catalog_that_took_no_change_is_no_failure_of_the_job(world: World) -> None:
    """D1: the job is not left to its lease, nor put off as one that fails again and again."""
    full = FullCatalog(world.catalog)
    seen: list[int] = []

    async def work(context: JobContext) -> None:
        seen.append(context.job.attempts)
        if len(seen) <= 10:
            full.refusals = 2 if len(seen) == 1 else 1
            await context.progress({})

    await queue(world, "work")
    runner = JobRunner(full, {"work": work})  # type: ignore[arg-type]  # all that it uses
    for ran in range(1, 12):
        assert await runner.run_due() == 1
        assert len(seen) == ran
        world.clock.advance(1)
    assert await states(world) == [("work", "done")]
    assert seen == [1] * 11


async def test_job_that_no_catalog_ever_takes_is_seen_to_fail(world: World) -> None:
    """Whoever looks finds it, and it comes round less and less often."""

    async def work(_: JobContext) -> None:
        raise CatalogUnavailable("that takes too long")

    await queue(world, "work")
    runner = JobRunner(world.catalog, {"work": work})
    ran = 0
    for _ in range(60):
        ran += await runner.run_due()
        world.clock.advance(1)
    assert CATALOG_TRIES < ran < 60
    row = await world.catalog.read(lambda connection: connection.execute(select(job)).one())
    assert row.attempts >= 1
    assert row.error == "that takes too long"


async def test_end_of_a_job_is_told_to_a_catalog_that_was_away(world: World) -> None:
    full = FullCatalog(world.catalog)

    async def work(_: JobContext) -> None:
        full.refusals = 1

    await queue(world, "work")
    await JobRunner(full, {"work": work}).run_due()  # type: ignore[arg-type]  # all that it uses
    assert await states(world) == [("work", "done")]


@on_both
async def test_job_of_a_dead_worker_is_taken_over(world: World) -> None:
    await queue(world, "work")
    now = world.clock.steady()

    def claim(connection: Connection) -> job_table.Job | None:
        return job_table.claim(connection, ["work"], by="dead", now=now, leased_until=now + 60_000_000)

    assert await world.catalog.write(claim) is not None
    runner = JobRunner(world.catalog, {"work": Recorder()})
    assert await runner.run_due() == 0
    world.clock.advance(61)
    assert await runner.run_due() == 1


@on_both
async def test_periodic_job_comes_round(world: World) -> None:
    recorder = Recorder()
    runner = JobRunner(world.catalog, {"tidy": recorder}, periodic=[Periodic("tidy", 3600)])
    for wanted in (1, 1, 2):
        await runner.schedule()
        await runner.schedule()
        await runner.run_due()
        assert len(recorder.seen) == wanted
        world.clock.advance(1801)


@on_both
async def test_a_shorter_interval_holds_at_once(world: World) -> None:
    """What was queued with the old one would otherwise wait for its whole length."""
    recorder = Recorder()
    for every_s, wanted in ((30 * 86400, 1), (30 * 86400, 1), (600, 2)):
        runner = JobRunner(world.catalog, {"tidy": recorder}, periodic=[Periodic("tidy", every_s)])
        await runner.schedule()
        await runner.run_due()
        assert len(recorder.seen) == wanted
        await runner.schedule()
        world.clock.advance(601)


async def test_stopping_gives_the_job_back(world: World) -> None:
    started = asyncio.Event()

    async def endless(_: JobContext) -> None:
        started.set()
        await asyncio.Event().wait()

    await queue(world, "work")
    stop = asyncio.Event()
    running = asyncio.create_task(JobRunner(world.catalog, {"work": endless}, poll_s=0.01).run(stop))
    await asyncio.wait_for(started.wait(), 60)
    stop.set()
    await asyncio.wait_for(running, 60)
    assert await states(world) == [("work", "queued")]
    assert await JobRunner(world.catalog, {"work": Recorder()}).run_due() == 1
