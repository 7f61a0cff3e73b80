"""Uploads on their way, as a page shows them while docker sends a layer."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from entrepot.server.db.tables import repo
from entrepot.server.repos.uploads.arrivals import Arrivals
from tests.contract.repos.world import ALICE, REPO, World

pytestmark = pytest.mark.anyio


async def repo_id(world: World) -> int:
    return int(await world.catalog.read(lambda c: c.execute(select(repo.c.id)).scalar_one()))


async def test_bytes_are_seen_while_the_request_that_brings_them_runs(world: World) -> None:
    arrivals = Arrivals(world.catalog, world.store, world.clock)
    name = (await world.uploads.start(REPO, actor=ALICE)).id
    repository = await repo_id(world)
    assert await arrivals.of_repository(repository) == []
    sent, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        sent.set()
        await go_on.wait()
        yield b"y" * 500

    request = asyncio.create_task(world.uploads.append(REPO, name, body(), actor=ALICE))
    await sent.wait()
    async with asyncio.timeout(60):
        while not (seen := await arrivals.of_repository(repository)) or not seen[0].bytes:
            await asyncio.sleep(0.01)
    assert [(one.principal, 0 < one.bytes <= 3_000_000) for one in seen] == [("alice", True)]
    go_on.set()
    assert (await request).offset == 3_000_500
    # Between two requests too: docker may ask for the next piece only after a while.
    assert [one.bytes for one in await arrivals.of_repository(repository)] == [3_000_500]
