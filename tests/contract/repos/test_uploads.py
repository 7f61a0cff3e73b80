"""Uploads, whatever clients, networks and other workers do to them."""

import asyncio
import itertools
import random
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, update

from entrepot.errors import Denied
from entrepot.oci.digest import Digest, InvalidDigest
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.open_mode import OPEN_PRINCIPAL
from entrepot.server.db.tables import blob, repo_blob, trash, upload, upload_begun
from entrepot.server.repos.errors import (
    BlobTooLarge,
    ContentMismatch,
    RangeInvalid,
    SizeInvalid,
    TooManyUploads,
    UploadBusy,
    UploadUnknown,
)
from entrepot.server.repos.uploads import hashes, holder, service
from entrepot.server.storage.errors import StorageFailed
from tests.contract.db.catalogs import SQLITE_ONLY
from tests.contract.repos.world import ALICE, REPO, World, broken_stream, refusing, stream

pytestmark = pytest.mark.anyio

DATA = b"0123456789" * 10


async def begun(world: World, data: bytes = b"") -> str:
    """An upload that holds `data`."""
    started = await world.uploads.start(REPO, actor=ALICE)
    if data:
        await world.uploads.append(REPO, started.id, stream(data))
    return started.id


async def content(world: World, found: Any) -> bytes:
    return b"".join([piece async for piece in await world.blobs.open(found)])


async def change_row(world: World, **values: Any) -> None:
    await world.catalog.write(lambda connection: connection.execute(update(upload).values(**values)) and None)


async def test_chunks_become_a_blob(world: World) -> None:
    name = await begun(world)
    assert (await world.uploads.append(REPO, name, stream(DATA[:30], DATA[30:40]))).offset == 40
    assert (await world.uploads.status(REPO, name)).offset == 40
    found = await world.uploads.finish(REPO, name, Digest.of(DATA), stream(DATA[40:]), actor=ALICE)
    assert found.size == len(DATA)
    assert await world.blobs.find(REPO, Digest.of(DATA)) is not None
    assert await content(world, found) == DATA
    with pytest.raises(UploadUnknown):
        await world.uploads.status(REPO, name)
    assert await world.count(upload) == 0
    assert [one async for one in world.store.list_uploads()] == []


async def test_an_upload_has_no_row_before_its_first_bytes(world: World) -> None:
    name = await begun(world)
    assert (await world.uploads.status(REPO, name)).offset == 0
    assert await world.count(upload) == await world.count(upload_begun) == 0
    await world.uploads.append(REPO, name, stream(DATA))
    assert await world.count(upload) == await world.count(upload_begun) == 1
    assert (await world.uploads.status(REPO, name)).offset == len(DATA)


async def test_an_upload_is_used_once(world: World) -> None:
    """A blob that comes whole leaves no row, and still its upload is over (U7)."""
    name = await begun(world)
    kept = await world.uploads.finish(
        REPO, name, Digest.of(DATA), stream(DATA), content_length=len(DATA), actor=ALICE
    )
    again = await world.uploads.finish(
        REPO, name, Digest.of(DATA), stream(DATA), content_length=len(DATA), actor=ALICE
    )
    assert again.phys == kept.phys
    for doing in (
        world.uploads.status(REPO, name),
        world.uploads.append(REPO, name, stream(DATA)),
        world.uploads.cancel(REPO, name),
        world.uploads.finish(
            REPO, name, Digest.of(b"other"), stream(b"other"), content_length=5, actor=ALICE
        ),
    ):
        with pytest.raises(UploadUnknown):
            await doing
    assert await world.count(blob) == 1
    assert [one.phys async for one in world.store.list()] == [kept.phys]


async def test_only_one_of_two_writers_begins_an_upload(world: World) -> None:
    """U2: the first bytes and a whole blob at the same moment."""
    name = await begun(world)
    doing = [
        world.uploads.append(REPO, name, stream(DATA)),
        world.uploads.finish(
            REPO, name, Digest.of(b"whole"), stream(b"whole"), content_length=5, actor=ALICE
        ),
    ]
    done = await asyncio.gather(*doing, return_exceptions=True)
    assert sum(isinstance(one, UploadUnknown | UploadBusy) for one in done) == 1, done


async def test_a_cancelled_upload_takes_no_bytes(world: World) -> None:
    name = await begun(world)
    await world.uploads.cancel(REPO, name)
    for doing in (world.uploads.append(REPO, name, stream(DATA)), world.uploads.cancel(REPO, name)):
        with pytest.raises(UploadUnknown):
            await doing


@SQLITE_ONLY
async def test_a_name_nobody_gave_is_no_upload(world: World) -> None:
    """One character of another repository, time, algorithm or seal, and it is nobody's."""
    name = await begun(world)
    forged = [f"{name[:at]}{'1' if name[at] != '1' else '2'}{name[at + 1 :]}" for at in (3, 20, 32, 40)] + [
        name[:-1],
        name.upper(),
        "",
    ]
    for repository, wrong in [*((REPO, one) for one in forged), ("other/app", name)]:
        for doing in (
            world.uploads.status(repository, wrong),
            world.uploads.append(repository, wrong, stream(DATA)),
            world.uploads.cancel(repository, wrong),
        ):
            with pytest.raises(UploadUnknown):
                await doing
    assert await world.count(upload_begun) == 0


@SQLITE_ONLY
async def test_marks_of_used_uploads_are_forgotten(world: World) -> None:
    for data in (b"one", b"two"):
        await world.uploads.finish(
            REPO, await begun(world), Digest.of(data), stream(data), content_length=3, actor=ALICE
        )
    name = await begun(world)
    assert await world.uploads.forget_begun() == 0
    world.clock.advance(2 * world.limits.upload_ttl_s + 1)
    assert await world.uploads.forget_begun() == 2
    with pytest.raises(UploadUnknown):
        await world.uploads.append(REPO, name, stream(DATA))


@SQLITE_ONLY
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_whole_blob_comes_in_one_request(world: World, algorithm: str) -> None:
    for data in (b"small", b"x" * (service.WHOLE_BYTES + 1)):
        digest = Digest.of(data, algorithm)
        for length in (len(data), None):
            found = await world.uploads.put(
                REPO, digest, stream(data[:3], b"", data[3:]), content_length=length, actor=ALICE
            )
            assert await content(world, found) == data
    assert await world.count(blob) == 2


@SQLITE_ONLY
async def test_a_digest_of_another_algorithm_than_announced_is_computed(world: World) -> None:
    name = await begun(world, DATA)
    found = await world.uploads.finish(REPO, name, Digest.of(DATA, "sha512"), actor=ALICE)
    assert await content(world, found) == DATA


@SQLITE_ONLY
async def test_a_cut_body_keeps_what_arrived(world: World) -> None:
    """U1: the status tells the truth, the upload goes on from there, the digest is right."""
    name = await begun(world)
    with pytest.raises(ConnectionResetError):
        await world.uploads.append(REPO, name, broken_stream(DATA[:37]), content_length=len(DATA))
    assert (await world.uploads.status(REPO, name)).offset == 37
    with pytest.raises(ConnectionResetError):
        await world.uploads.finish(REPO, name, Digest.of(DATA), broken_stream(DATA[37:50]), actor=ALICE)
    assert (await world.uploads.status(REPO, name)).offset == 50
    await world.uploads.append(REPO, name, stream(DATA[50:]), expected_start=50)
    found = await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert await content(world, found) == DATA
    assert world.store.reread == 0


@SQLITE_ONLY
async def test_a_body_is_as_long_as_announced(world: World) -> None:
    """U2."""
    name = await begun(world)
    with pytest.raises(SizeInvalid) as short:
        await world.uploads.append(REPO, name, stream(DATA[:10]), content_length=11)
    assert short.value.offset == 10
    with pytest.raises(SizeInvalid):
        await world.uploads.append(REPO, name, stream(DATA[10:20]), content_length=5)
    assert (await world.uploads.status(REPO, name)).offset == 15
    for pieces, length in (((DATA,), len(DATA) - 1), ((DATA,), len(DATA) + 1)):
        with pytest.raises(SizeInvalid):
            await world.uploads.put(
                REPO, Digest.of(DATA), stream(*pieces), content_length=length, actor=ALICE
            )
    assert await world.blobs.find(REPO, Digest.of(DATA)) is None


@SQLITE_ONLY
@pytest.mark.parametrize("start", [0, 10, 39, 41, 1000])
async def test_a_chunk_that_does_not_fit_is_refused(world: World, start: int) -> None:
    """U3: gaps, overlaps and repeats are answered with where the upload stands, and change nothing."""
    name = await begun(world, DATA[:40])
    for _ in range(2):
        with pytest.raises(RangeInvalid) as refused:
            await world.uploads.append(REPO, name, stream(DATA[40:]), expected_start=start)
        assert refused.value.offset == 40
    await world.uploads.append(REPO, name, stream(DATA[40:]), expected_start=40)
    found = await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert await content(world, found) == DATA


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-worker", "other-worker"])
async def test_a_second_writer_is_turned_away(world: World, elsewhere: bool) -> None:
    """U4: what is stored is what was hashed, whoever comes at the same time."""
    second = world.worker() if elsewhere else world
    name = await begun(world, b"abc")
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        yield DATA[:50]
        reached.set()
        await go_on.wait()
        yield DATA[50:]

    first = asyncio.ensure_future(world.uploads.append(REPO, name, slow()))
    await reached.wait()
    for attempt in (
        second.uploads.append(REPO, name, stream(b"other bytes")),
        second.uploads.append(REPO, name, stream(b"other bytes"), expected_start=3),
        second.uploads.finish(REPO, name, Digest.of(b"abc"), actor=ALICE),
    ):
        with pytest.raises(UploadBusy) as refused:
            await attempt
        assert refused.value.offset == 3
    go_on.set()
    assert (await first).offset == 103
    found = await second.uploads.finish(REPO, name, Digest.of(b"abc" + DATA), actor=ALICE)
    assert await content(world, found) == b"abc" + DATA


@SQLITE_ONLY
async def test_a_small_blob_may_come_with_the_last_request(world: World) -> None:
    name = await begun(world)
    for attempt, error in (
        (
            world.uploads.finish(REPO, name, Digest.of(b"x"), stream(DATA), content_length=100, actor=ALICE),
            ContentMismatch,
        ),
        (
            world.uploads.finish(REPO, name, Digest.of(DATA), stream(DATA), content_length=99, actor=ALICE),
            SizeInvalid,
        ),
        (
            world.uploads.finish(REPO, name, Digest.of(DATA), stream(DATA), content_length=101, actor=ALICE),
            SizeInvalid,
        ),
        (
            world.uploads.finish(
                REPO, name, Digest.of(DATA), stream(DATA), content_length=100, expected_start=1, actor=ALICE
            ),
            RangeInvalid,
        ),
        (
            world.uploads.finish(
                REPO, name, Digest.of(DATA), broken_stream(DATA), content_length=101, actor=ALICE
            ),
            ConnectionResetError,
        ),
    ):
        with pytest.raises(error):
            await attempt
        assert (await world.uploads.status(REPO, name)).offset == 0
    found = await world.uploads.finish(
        REPO, name, Digest.of(DATA), stream(DATA), content_length=100, expected_start=0, actor=ALICE
    )
    assert await content(world, found) == DATA
    assert await world.count(upload) == 0


@SQLITE_ONLY
async def test_a_wrong_digest_keeps_the_upload(world: World) -> None:
    """U5."""
    name = await begun(world, DATA)
    for wrong in (Digest.of(b"something else"), Digest.of(DATA[1:], "sha512")):
        with pytest.raises(ContentMismatch):
            await world.uploads.finish(REPO, name, wrong, actor=ALICE)
        assert await world.blobs.find(REPO, wrong) is None
    with pytest.raises(ContentMismatch):
        await world.uploads.put(REPO, Digest.of(b"x"), stream(DATA), content_length=len(DATA), actor=ALICE)
    await world.uploads.cancel(REPO, name)
    with pytest.raises(UploadUnknown):
        await world.uploads.cancel(REPO, name)
    assert [one async for one in world.store.list_uploads()] == []
    with pytest.raises(InvalidDigest):
        await world.uploads.start(REPO, actor=ALICE, algorithm="md5")


async def test_a_finish_whose_answer_was_lost_succeeds_again(world: World) -> None:
    """U6."""
    name = await begun(world, DATA)
    first = await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    again = await world.worker().uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert again.phys == first.phys
    with pytest.raises(UploadUnknown):
        await world.uploads.finish(REPO, name, Digest.of(b"another"), actor=ALICE)


async def test_an_idle_upload_expires(world: World) -> None:
    """U7."""
    name = await begun(world, DATA[:50])
    world.clock.advance(world.limits.upload_ttl_s - 1)
    await world.uploads.append(REPO, name, stream(DATA[50:]))  # counts from the last byte
    world.clock.advance(world.limits.upload_ttl_s - 1)
    assert (await world.uploads.status(REPO, name)).offset == 100
    world.clock.advance(2)
    for attempt in (
        world.uploads.status(REPO, name),
        world.uploads.append(REPO, name, stream(b"x")),
        world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE),
    ):
        with pytest.raises(UploadUnknown):
            await attempt


async def test_many_clients_push_the_same_blob(world: World) -> None:
    """U8: all succeed, one copy is live, the others are in the trash."""
    workers = [world.worker() for _ in range(6)]
    names = [await begun(worker, DATA) for worker in workers]
    found = await asyncio.gather(
        *(
            worker.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
            for worker, name in zip(workers, names, strict=True)
        )
    )
    assert len({one.phys for one in found}) == 1
    assert await world.count(repo_blob) == 1
    stored = {one.phys async for one in world.store.list()}
    thrown = {phys for (phys,) in await world.rows(trash, "phys")}
    assert stored - thrown == {found[0].phys}


@SQLITE_ONLY
async def test_the_size_limit_stops_a_stream(world: World) -> None:
    """U9: nothing is read beyond the limit and nothing is left behind."""
    small = world.with_limits(blob_bytes=64)
    name = await begun(small)
    taken: list[int] = []

    async def endless() -> Any:
        while True:
            taken.append(1)
            yield b"x" * 10

    with pytest.raises(BlobTooLarge):
        await small.uploads.append(REPO, name, endless())
    assert len(taken) == 7
    with pytest.raises(UploadUnknown):
        await small.uploads.status(REPO, name)
    with pytest.raises(BlobTooLarge):
        await small.uploads.put(REPO, Digest.of(DATA), endless(), actor=ALICE)
    with pytest.raises(BlobTooLarge):
        await small.uploads.put(REPO, Digest.of(DATA), stream(DATA), content_length=100, actor=ALICE)
    name = await begun(small)
    with pytest.raises(BlobTooLarge):
        await small.uploads.append(REPO, name, stream(DATA), content_length=100)
    assert [one async for one in world.store.list_uploads()] == []
    await small.uploads.put(REPO, Digest.of(DATA[:64]), stream(DATA[:64]), actor=ALICE)  # just fits


@SQLITE_ONLY
async def test_the_empty_blob(world: World) -> None:
    """U10: finished with an empty upload, with an empty body, or in one request."""
    empty = Digest.of(b"")
    name = await begun(world)
    found = await world.uploads.finish(REPO, name, empty, actor=ALICE)
    assert (found.size, await content(world, found)) == (0, b"")
    name = await begun(world)
    await world.uploads.append(REPO, name, stream(b""), content_length=0)
    await world.uploads.finish(REPO, name, empty, stream(), content_length=0, actor=ALICE)
    await world.uploads.put("team/other", empty, stream(), content_length=0, actor=ALICE)
    await world.uploads.put("team/third", empty, stream(), actor=ALICE)
    assert await world.blobs.find("team/third", empty) is not None
    assert await world.count(blob) == 1


@SQLITE_ONLY
async def test_the_closing_request_reads_nothing_on_any_worker(world: World) -> None:
    name = await begun(world, DATA)
    await world.worker().uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert world.store.reread == 0


async def test_a_worker_reads_only_what_it_missed(world: World) -> None:
    other = world.worker()
    name = await begun(world, DATA[:60])
    await other.uploads.append(REPO, name, stream(DATA[60:70]))
    assert world.store.reread == 60
    await world.uploads.append(REPO, name, stream(DATA[70:80]))
    assert world.store.reread == 70
    await other.uploads.append(REPO, name, stream(DATA[80:]))
    assert world.store.reread == 80
    found = await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert world.store.reread == 80
    assert await content(world, found) == DATA


@SQLITE_ONLY
async def test_after_a_restart_of_the_machine_everything_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest noted in another boot is not believed: the page cache it spoke of is gone."""
    name = await begun(world, DATA)
    await change_row(world, digest_so_far=str(Digest.of(b"what the disk lost")))
    monkeypatch.setattr(hashes, "boot_id", lambda: "the-next-boot")
    found = await world.worker().uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert world.store.reread == len(DATA)
    assert await content(world, found) == DATA


@SQLITE_ONLY
async def test_bytes_lost_in_a_power_cut_are_asked_for_again(world: World) -> None:
    """The store holds less than the row says: clients are told where to go on."""
    name = await begun(world, DATA)
    phys = (await world.rows(upload, "phys"))[0][0]
    await world.store.append(phys, 0, stream(DATA[:20]), on_chunk=len)
    fresh = world.worker()
    with pytest.raises(RangeInvalid) as told:
        await fresh.uploads.append(REPO, name, stream(b"more"), expected_start=100)
    assert told.value.offset == 20 == (await fresh.uploads.status(REPO, name)).offset
    await fresh.uploads.append(REPO, name, stream(DATA[20:]), expected_start=20)
    found = await fresh.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert await content(world, found) == DATA


async def test_an_upload_whose_row_was_lost_in_a_power_cut_is_unknown(world: World) -> None:
    """Its client begins again then; DIGEST_INVALID would tell it to give up."""
    name, empty, later = await begun(world, DATA), await begun(world), Digest.of(b"")
    for table in (upload, upload_begun):
        await world.catalog.write(lambda connection, table=table: connection.execute(delete(table)) and None)
    world.clock.advance(1)
    restarted = world.worker()
    with pytest.raises(UploadUnknown):
        await restarted.uploads.finish(REPO, name, Digest.of(DATA), content_length=0, actor=ALICE)
    await restarted.uploads.finish(REPO, empty, later, content_length=0, actor=ALICE)
    wrong = await begun(restarted)
    with pytest.raises(ContentMismatch):
        await restarted.uploads.finish(REPO, wrong, Digest.of(DATA), content_length=0, actor=ALICE)


async def test_a_cancelled_request_loses_no_recorded_byte(world: World) -> None:
    name = await begun(world)
    reached = asyncio.Event()

    async def stalls() -> Any:
        yield DATA[:42]
        reached.set()
        await asyncio.Event().wait()

    request = asyncio.ensure_future(world.uploads.append(REPO, name, stalls()))
    await reached.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert (await world.uploads.status(REPO, name)).offset == 42
    await world.worker().uploads.append(REPO, name, stream(DATA[42:]), expected_start=42)
    found = await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert await content(world, found) == DATA


async def test_a_cancelled_finish_is_done_or_not_and_can_be_repeated(world: World) -> None:
    for turns in range(12):
        data = DATA + bytes([turns])
        name = await begun(world, data)
        request = asyncio.ensure_future(world.uploads.finish(REPO, name, Digest.of(data), actor=ALICE))
        for _ in range(turns):
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait([request])
        found = await world.uploads.finish(REPO, name, Digest.of(data), actor=ALICE)
        assert await content(world, found) == data


@SQLITE_ONLY
async def test_a_loop_that_ends_takes_no_bytes_from_under_a_row(world: World) -> None:
    """A server that stops cancels what is left, while the transaction of a push may be under way."""
    for turns in range(0, 60, 2):
        data = DATA + bytes([turns])
        name = await begun(world)
        mine = asyncio.all_tasks()
        finish = world.uploads.finish(
            REPO, name, Digest.of(data), stream(data), content_length=len(data), actor=ALICE
        )
        request = asyncio.ensure_future(finish)
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - mine:
            task.cancel()
        await asyncio.wait([request])
        await world.catalog.write(lambda _: None)  # behind whatever was under way
        found = await world.blobs.find(REPO, Digest.of(data))
        if found is not None:
            assert await content(world, found) == data


@SQLITE_ONLY
async def test_what_a_dead_process_held_is_free_at_once(world: World) -> None:
    name = await begun(world, DATA[:50])
    boot, namespace, _, started, token = holder.new_claim().split("/")
    gone = f"{boot}/{namespace}/999999999/{started}/{token}"
    await change_row(world, claim=gone, claimed_until=world.clock.steady() + 10**9)
    assert (await world.worker().uploads.append(REPO, name, stream(DATA[50:]))).offset == 100
    assert world.store.reread == 50


async def test_what_a_silent_process_held_is_free_after_a_while(world: World) -> None:
    """U4: it may still be writing; its file is left behind, so that it can't spoil what is hashed."""
    name = await begun(world, DATA[:50])
    old = (await world.rows(upload, "phys"))[0][0]
    until = world.clock.steady() + 60 * 10**6
    await change_row(world, claim="another-machine/1/2/3/4", claimed_until=until)
    with pytest.raises(UploadBusy):
        await world.uploads.append(REPO, name, stream(DATA[50:]))
    world.clock.advance(61)
    await world.worker().uploads.append(REPO, name, stream(DATA[50:]), expected_start=50)
    await world.store.append(old, 0, stream(b"late bytes of the silent one"), on_chunk=len)
    found = await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert await content(world, found) == DATA


async def test_a_writer_that_lost_its_upload_records_nothing(world: World) -> None:
    name = await begun(world, b"abc")

    async def loses_it() -> Any:
        yield b"def"
        await world.worker().uploads.cancel(REPO, name)

    with pytest.raises(UploadUnknown):
        await world.uploads.append(REPO, name, loses_it())
    assert await world.count(upload) == 0


@SQLITE_ONLY
async def test_a_store_that_fails_leaves_the_upload_usable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: the truth is what the store holds; the hash is made anew."""
    name = await begun(world, DATA[:10])
    real = world.store.append

    async def fills(phys: str, offset: int, chunks: Any, *, on_chunk: Any) -> int:
        await real(phys, offset, stream(DATA[10:30]), on_chunk=len)
        raise StorageFailed("no space left", retry_after_s=1)

    monkeypatch.setattr(world.store, "append", fills)
    with pytest.raises(StorageFailed):
        await world.uploads.append(REPO, name, stream(DATA[10:]))
    monkeypatch.setattr(world.store, "append", real)
    assert (await world.uploads.status(REPO, name)).offset == 30
    await world.uploads.append(REPO, name, stream(DATA[30:]), expected_start=30)
    found = await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    assert await content(world, found) == DATA


@SQLITE_ONLY
async def test_a_commit_that_fails_shows_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """C6: an fsync error fails the upload; the client begins another one."""
    name = await begun(world, DATA)
    real = world.store.commit

    async def fails(phys: str, digest: Digest, size: int) -> str:
        await world.store.abort(phys)
        raise StorageFailed("fsync failed", retry_after_s=1)

    monkeypatch.setattr(world.store, "commit", fails)
    with pytest.raises(StorageFailed):
        await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)
    monkeypatch.setattr(world.store, "commit", real)
    assert await world.blobs.find(REPO, Digest.of(DATA)) is None
    with pytest.raises(UploadUnknown):
        await world.uploads.status(REPO, name)
    name = await begun(world, DATA)
    await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE)


async def test_permits_are_asked_and_refusals_leave_nothing(world: World) -> None:
    for refused in ("create-project", "create-repository", "push"):
        with pytest.raises(Denied):
            await world.uploads.start(REPO, actor=ALICE, permit=refusing(refused))
        with pytest.raises(Denied):
            await world.uploads.put(
                REPO,
                Digest.of(DATA),
                stream(DATA),
                content_length=len(DATA),
                actor=ALICE,
                permit=refusing(refused),
            )
    assert await world.repository(REPO) is None
    name = await begun(world, DATA)
    with pytest.raises(Denied):
        await world.uploads.finish(REPO, name, Digest.of(DATA), actor=ALICE, permit=refusing("push"))
    assert await world.blobs.find(REPO, Digest.of(DATA)) is None
    assert [one async for one in world.store.list()] == []


async def test_one_account_writes_to_so_many_uploads_at_once(world: World) -> None:
    few = world.with_limits(uploads_per_principal=2)
    names = [await begun(few) for _ in range(3)]
    started, go_on = [asyncio.Event() for _ in names], asyncio.Event()

    async def slow(which: int) -> Any:
        yield b"x"
        started[which].set()
        await go_on.wait()

    first = [
        asyncio.ensure_future(few.uploads.append(REPO, names[i], slow(i), actor=ALICE)) for i in range(2)
    ]
    await asyncio.gather(started[0].wait(), started[1].wait())
    with pytest.raises(TooManyUploads):
        await few.uploads.append(REPO, names[2], stream(b"x"), actor=ALICE)
    await few.uploads.append(REPO, names[2], stream(b"x"), actor=Actor(OPEN_PRINCIPAL))
    go_on.set()
    await asyncio.gather(*first)
    await few.uploads.append(REPO, names[2], stream(b"x"), actor=ALICE)


@SQLITE_ONLY
async def test_an_upload_belongs_to_its_repository(world: World) -> None:
    name = await begun(world, DATA)
    for attempt in (
        world.uploads.status("team/other", name),
        world.uploads.append("team/other", name, stream(b"x")),
        world.uploads.finish("team/other", name, Digest.of(DATA), actor=ALICE),
        world.uploads.cancel("team/other", name),
        world.uploads.status(REPO, "../" + name),
    ):
        with pytest.raises(UploadUnknown):
            await attempt
    assert (await world.uploads.status(REPO, name)).offset == 100


@SQLITE_ONLY
@pytest.mark.parametrize("state", ["missing", "quarantined", "torn", "gone"])
async def test_a_push_heals_a_bad_copy(world: World, state: str) -> None:
    """C7: a copy that is not good is replaced by the bytes that come, and goes to the trash."""
    old = await world.blob(DATA)
    if state == "torn":
        await world.store.objects.put(old.phys, DATA[:10])
    elif state == "gone":
        await world.store.delete(old.phys)
    else:
        await world.catalog.write(
            lambda connection: connection.execute(update(blob).values(state=state)) and None
        )
        assert await world.blobs.find(REPO, Digest.of(DATA)) is None
    healed = await world.blob(DATA)
    assert healed.phys != old.phys
    assert await content(world, healed) == DATA
    assert await world.rows(trash, "phys", "reason") == [(old.phys, "replaced")]
    assert await world.blobs.find(REPO, Digest.of(DATA)) == replace(healed)


@SQLITE_ONLY
async def test_a_claim_is_kept_while_a_slow_client_sends(world: World) -> None:
    quick = world.with_limits(claim_s=0.03)
    name = await begun(quick)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        yield DATA
        reached.set()
        await go_on.wait()

    request = asyncio.ensure_future(quick.uploads.append(REPO, name, slow()))
    await reached.wait()
    world.clock.advance(3600)  # a claim that nobody renewed would be long over
    while (await world.rows(upload, "claimed_until"))[0][0] < world.clock.steady():
        await asyncio.sleep(0.01)
    go_on.set()
    assert (await request).offset == len(DATA)


@SQLITE_ONLY
async def test_a_claim_is_kept_while_the_end_takes_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading back or joining many bytes: who asks again meanwhile must not take the upload away."""
    quick = world.with_limits(claim_s=0.03)
    data, going_on = b"x" * 100, asyncio.Event()
    begun = await quick.uploads.start(REPO, actor=ALICE)
    await quick.uploads.append(REPO, begun.id, stream(data))
    commit, committing = world.store.commit, asyncio.Event()

    async def slow(*args: Any) -> str:
        committing.set()
        await going_on.wait()
        return await commit(*args)

    monkeypatch.setattr(world.store, "commit", slow)
    finishing = asyncio.create_task(quick.uploads.finish(REPO, begun.id, Digest.of(data), actor=ALICE))
    await committing.wait()
    world.clock.advance(3600)  # a claim that nobody renewed would be long over
    async with asyncio.timeout(5):
        while (await world.rows(upload, "claimed_until"))[0][0] < world.clock.steady():
            await asyncio.sleep(0.01)
    with pytest.raises(UploadBusy):
        await world.worker().uploads.append(REPO, begun.id, stream(b"y"))
    going_on.set()
    assert (await finishing).size == len(data)


@SQLITE_ONLY
async def test_a_claim_that_another_took_ends_the_body(world: World) -> None:
    """U4: who was silent for too long hears so, and what it sent is not recorded."""
    quick = world.with_limits(claim_s=0.03)
    name = await begun(quick, b"abc")
    reached = asyncio.Event()

    async def stalls() -> Any:
        yield DATA
        reached.set()
        await asyncio.Event().wait()

    request = asyncio.ensure_future(quick.uploads.append(REPO, name, stalls()))
    await reached.wait()
    await change_row(world, claim="another-machine/1/2/3/4")
    with pytest.raises(UploadUnknown):
        await request
    assert (await world.uploads.status(REPO, name)).offset == 3


@pytest.mark.parametrize("seed", range(6))
@SQLITE_ONLY
async def test_workers_at_random_never_store_wrong_bytes(world: World, seed: int) -> None:
    """U3, U4: any mixture of chunks, cuts and repeats on three workers; what is stored is what was hashed."""
    draw = random.Random(seed)
    workers = [world, world.worker(), world.worker()]
    name, known = await begun(world), b""

    async def attempt(worker: World, chunk: bytes, how: str) -> bytes | None:
        body = broken_stream(chunk) if how == "cut" else stream(chunk[:2], chunk[2:])
        start = {"repeat": 0, "right": len(known)}.get(how)
        try:
            await worker.uploads.append(REPO, name, body, expected_start=start)
        except ConnectionResetError:
            return chunk
        except (UploadBusy, RangeInvalid):
            return None
        return chunk

    for _ in range(25):
        tries = [
            attempt(
                draw.choice(workers),
                draw.randbytes(draw.randint(1, 9)),
                draw.choice(["right", "blind", "cut", "repeat"]),
            )
            for _ in range(draw.randint(1, 3))
        ]
        taken = [done for done in await asyncio.gather(*tries) if done is not None]
        offset = (await draw.choice(workers).uploads.status(REPO, name)).offset
        assert offset == len(known) + sum(map(len, taken))
        stored = await world.store.read_upload((await world.rows(upload, "phys"))[0][0], 0, offset)
        now = b"".join([piece async for piece in stored])
        assert now[: len(known)] == known
        assert now[len(known) :] in {b"".join(order) for order in itertools.permutations(taken)}
        known = now
    found = await draw.choice(workers).uploads.finish(REPO, name, Digest.of(known), actor=ALICE)
    assert await content(world, found) == known
