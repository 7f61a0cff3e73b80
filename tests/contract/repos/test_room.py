"""A quota holds for bytes on their way: refused while they come, free again when their upload ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import func, select, update

from entrepot.oci.digest import Digest
from entrepot.server.db.tables import project, upload
from entrepot.server.repos.errors import QuotaExceeded, UploadUnknown
from entrepot.server.repos.uploads.room import STEP
from tests.contract.db.catalogs import SQLITE_ONLY
from tests.contract.repos.world import ALICE, REPO, World, stream

pytestmark = pytest.mark.anyio

KB = 1000
LARGE = 100 * KB
"""More than is ever stored without an upload."""


async def limit(world: World, quota: int | None) -> None:
    def write(connection: Any) -> None:
        connection.execute(update(project).values(quota_bytes=quota))

    await world.catalog.write(write)


async def begun(world: World) -> str:
    return (await world.uploads.start(REPO, actor=ALICE)).id


async def used(world: World) -> int:
    return int((await world.rows(project, "usage_bytes"))[0][0])


async def on_disk(world: World) -> int:
    return sum([one.size async for one in world.store.list_uploads()])


class Body:
    """Pieces of a body, counted as they are taken; waits before its last one."""

    def __init__(self, pieces: int, size: int = KB) -> None:
        self.pieces, self.size, self.taken = pieces, size, 0
        self.go = asyncio.Event()

    async def run(self) -> AsyncIterator[bytes]:
        for number in range(self.pieces):
            if number == self.pieces - 1:
                await self.go.wait()
            self.taken += 1
            yield b"x" * self.size


@pytest.fixture
async def room(world: World) -> World:
    """A project of 1 MB, with nothing in it."""
    await begun(world)
    await limit(world, 1000 * KB)
    return world


@pytest.mark.parametrize("length", [None, 200_000 * KB], ids=["streamed", "announced"])
async def test_body_is_refused_while_it_comes(room: World, length: int | None) -> None:
    """200 MB were taken under a quota of 1 MB."""
    body = Body(200_000)
    body.go.set()
    name = await begun(room)
    with pytest.raises(QuotaExceeded, match="team"):
        await room.uploads.append(REPO, name, body.run(), content_length=length)
    assert body.taken == (1 if length else 1001)
    with pytest.raises(UploadUnknown):
        await room.uploads.status(REPO, name)
    assert (await room.count(upload), await on_disk(room)) == (0, 0)


async def test_unfinished_uploads_count_together(room: World) -> None:
    names = [await begun(room) for _ in range(3)]
    for name in names[:2]:
        await room.uploads.append(REPO, name, stream(b"x" * 400 * KB))
    with pytest.raises(QuotaExceeded):
        await room.uploads.append(REPO, names[2], stream(b"x" * 201 * KB))
    fitting = await begun(room)
    await room.uploads.append(REPO, fitting, stream(b"x" * 200 * KB))
    with pytest.raises(QuotaExceeded):
        await room.blob(b"one more")


@pytest.mark.parametrize("announced", [True, False])
async def test_as_many_fit_at_once_as_there_is_room_for(room: World, announced: bool) -> None:
    """On several workers at the same time; whoever is refused takes nothing from the others."""
    await limit(room, 4 * LARGE)
    bodies = [Body(100) for _ in range(10)]

    async def push(body: Body, number: int) -> str:
        worker = room.worker()
        name = await begun(worker)
        length = LARGE if announced else None
        await worker.uploads.append(REPO, name, body.run(), content_length=length)
        return name

    running = [asyncio.create_task(push(body, n)) for n, body in enumerate(bodies)]
    if announced:  # six are told at once, before anybody has sent everything
        while sum(task.done() for task in running) < 6:
            await asyncio.wait([t for t in running if not t.done()], return_when=asyncio.FIRST_COMPLETED)
        assert [body.taken for body, t in zip(bodies, running, strict=True) if t.done()] == [1] * 6
    for body in bodies:
        body.go.set()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert {type(one) for one in ended} <= {str, QuotaExceeded}
    assert await on_disk(room) <= 4 * LARGE
    assert await room.count(upload) == sum(isinstance(one, str) for one in ended)
    if announced:
        assert sum(isinstance(one, str) for one in ended) == 4


async def test_whole_blobs_take_their_room_too(room: World) -> None:
    await limit(room, 4 * LARGE)
    contents = [bytes([number]) * LARGE for number in range(10)]
    pushed = await asyncio.gather(*(room.worker().blob(one) for one in contents), return_exceptions=True)
    assert sum(isinstance(one, QuotaExceeded) for one in pushed) == 6
    assert (await used(room), await room.count(upload), await on_disk(room)) == (4 * LARGE, 0, 0)


async def test_room_is_free_when_the_upload_ends(room: World) -> None:
    data = b"x" * 900 * KB
    cancelled = await begun(room)
    await room.uploads.append(REPO, cancelled, stream(data))
    await room.uploads.cancel(REPO, cancelled)
    finished = await begun(room)
    await room.uploads.append(REPO, finished, stream(data))
    await room.uploads.finish(REPO, finished, Digest.of(data), actor=ALICE)
    assert await used(room) == 900 * KB
    await room.blob(b"y" * 100 * KB)
    with pytest.raises(QuotaExceeded):
        await room.blob(b"z")


async def test_what_a_dead_process_took_is_free_when_its_claim_has_run_out(room: World) -> None:
    body = Body(2)
    name = await begun(room)
    task = asyncio.create_task(room.uploads.append(REPO, name, body.run(), content_length=1000 * KB))
    while not (await room.rows(upload, "reserved")) or await _reserved(room) == 0:
        await asyncio.sleep(0)
    other = room.worker()
    with pytest.raises(QuotaExceeded):
        await other.blob(b"small")
    room.clock.advance(room.limits.claim_s + 1)
    await other.blob(b"small")
    task.cancel()
    body.go.set()
    await asyncio.wait([task])


async def _reserved(world: World) -> int:
    def read(connection: Any) -> int:
        return int(connection.execute(select(func.sum(upload.c.reserved))).scalar_one() or 0)

    return await world.catalog.read(read)


async def test_what_was_announced_and_did_not_come_is_free(room: World) -> None:
    name = await begun(room)
    with pytest.raises(Exception, match="bytes"):
        await room.uploads.append(REPO, name, stream(b"x" * KB), content_length=1000 * KB)
    await room.blob(b"y" * 999 * KB)


@SQLITE_ONLY
async def test_room_costs_few_writes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing without a quota, and with one not one for each chunk."""
    written = 0
    write = world.catalog.write

    async def counted(*args: Any, **named: Any) -> Any:
        nonlocal written
        written += 1
        return await write(*args, **named)

    monkeypatch.setattr(world.catalog, "write", counted)
    cost = {}
    for quota, length in ((None, None), (100_000 * KB, None), (100_000 * KB, 2_000 * KB)):
        name = await begun(world)
        await limit(world, quota)
        written, body = 0, Body(2_000)
        body.go.set()
        await world.uploads.append(REPO, name, body.run(), content_length=length)
        cost[quota, length] = written
    free = cost[None, None]
    assert cost[100_000 * KB, 2_000 * KB] == free + 1
    assert cost[100_000 * KB, None] <= free + 1 + 2_000 * KB // STEP + 1
