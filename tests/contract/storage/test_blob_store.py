"""What every place for blobs keeps to: memory, a folder, a real object store, and objects that can't grow."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from entrepot.oci.digest import Digest, Hasher
from entrepot.server.storage.arrivals import FORGOTTEN_S
from entrepot.server.storage.driver import SegmentDriver
from entrepot.server.storage.errors import (
    BlobMissing,
    InvalidKey,
    StoredBytesDiffer,
    StoredFileUnreadable,
    UploadShort,
)
from entrepot.server.storage.filesystem import filesystem_store
from entrepot.server.storage.memory import MemoryDriver, memory_store
from entrepot.server.storage.objects import LEAST_PART_BYTES, open_bucket
from entrepot.server.storage.segments import SegmentedUploads
from entrepot.server.storage.store import BlobStore, StoreIdentity

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


def _objects(request: pytest.FixtureRequest, folder: Path) -> BlobStore:
    location = request.getfixturevalue("s3_location")
    return open_bucket(
        f"s3://{location.bucket}/{location.prefix}",
        endpoint=location.endpoint,
        region="us-east-1",
        access_key_id=location.access_key,
        secret_access_key=location.secret_key,
        allow_http=True,
        part_bytes=LEAST_PART_BYTES,
        arriving=folder / "arriving",
    )


def _in_segments(driver: SegmentDriver) -> BlobStore:
    return BlobStore(driver, SegmentedUploads(driver))


MAKERS: dict[str, Callable[[pytest.FixtureRequest, Path], BlobStore]] = {
    "memory": lambda _request, _path: memory_store(),
    "filesystem": lambda _request, path: filesystem_store(path / "store"),
    "objects": _objects,
    "segments in memory": lambda _request, _path: _in_segments(MemoryDriver()),
}


@pytest.fixture(params=sorted(MAKERS))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    made = MAKERS[request.param](request, tmp_path)
    yield made
    await made.close()


class Gone(Exception):
    """The client went away."""


async def pieces(*data: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for piece in data:
        await asyncio.sleep(0)
        yield piece
    if then is not None:
        raise then


async def stored_bytes(store: BlobStore, phys: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in await store.open(phys, start, end)])


async def pushed(store: BlobStore, *requests: bytes) -> tuple[str, Digest]:
    """A blob whose bytes arrived in this many requests."""
    upload, hasher = await store.new_upload(), Hasher()
    for data in requests:
        await store.append(upload, hasher.size, pieces(data), on_chunk=hasher.update)
    return await store.commit(upload, hasher.digest(), hasher.size), hasher.digest()


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([b"one request"], id="one"),
        pytest.param([b"several", b" requests", b" in order"], id="several"),
        pytest.param([], id="no-bytes"),
        pytest.param([os.urandom(1) * (5 * MIB - 1), b"xy"], id="around-5MiB"),
        pytest.param([b"p" * (5 * MIB)], id="5MiB"),
        pytest.param([b"p" * (5 * MIB + 1)], id="5MiB+1"),
        pytest.param([b"p" * (5 * MIB - 1), b"q" * (5 * MIB + 1)], id="two-of-5MiB"),
        pytest.param([b"ab" * (9 * MIB)], id="18MiB"),
    ],
)
async def test_upload_becomes_the_same_bytes(store: BlobStore, requests: list[bytes]) -> None:
    """U10: sizes around the smallest part that S3 takes, among others."""
    whole = b"".join(requests)
    phys, digest = await pushed(store, *requests)
    assert digest == Digest.of(whole)
    assert await store.size(phys) == len(whole)
    assert await stored_bytes(store, phys) == whole


async def test_hash_sees_exactly_what_is_stored_in_order(store: BlobStore) -> None:
    seen: list[bytes] = []
    upload = await store.new_upload()
    data = [bytes([number]) * 100_000 for number in range(20)]
    stored = await store.append(upload, 0, pieces(*data), on_chunk=lambda chunk: seen.append(bytes(chunk)))
    assert stored == 2_000_000
    assert b"".join(seen) == b"".join(data)
    assert await store.upload_size(upload) == stored


@pytest.mark.parametrize("size", [10, 3 * MIB, 10 * MIB], ids=["small", "3MiB", "10MiB"])
async def test_what_arrived_before_the_client_left_is_kept(store: BlobStore, size: int) -> None:
    hasher, upload = Hasher(), await store.new_upload()
    head, tail = b"h" * size, b"t" * 1000
    with pytest.raises(Gone):
        await store.append(upload, 0, pieces(head, then=Gone()), on_chunk=hasher.update)
    assert await store.upload_size(upload) == hasher.size == size
    await store.append(upload, hasher.size, pieces(tail), on_chunk=hasher.update)
    phys = await store.commit(upload, hasher.digest(), hasher.size)
    assert await stored_bytes(store, phys) == head + tail


async def test_append_at_an_earlier_offset_replaces_what_followed(store: BlobStore) -> None:
    upload = await store.new_upload()
    await store.append(upload, 0, pieces(b"aaaa"), on_chunk=lambda _: None)
    await store.append(upload, 4, pieces(b"lost answer"), on_chunk=lambda _: None)
    await store.append(upload, 4, pieces(b"sent again!"), on_chunk=lambda _: None)
    wanted = b"aaaasent again!"
    phys = await store.commit(upload, Digest.of(wanted), len(wanted))
    assert await stored_bytes(store, phys) == wanted


async def test_append_beyond_what_is_held_is_refused(store: BlobStore) -> None:
    upload = await store.new_upload()
    with pytest.raises(UploadShort):
        await store.append(upload, 5, pieces(b"late"), on_chunk=lambda _: None)
    await store.append(upload, 0, pieces(b"12345"), on_chunk=lambda _: None)
    with pytest.raises(UploadShort) as caught:
        await store.append(upload, 6, pieces(b"late"), on_chunk=lambda _: None)
    assert caught.value.stored == 5
    assert await store.upload_size(upload) == 5


async def test_commit_of_more_than_is_held_is_refused(store: BlobStore) -> None:
    upload = await store.new_upload()
    await store.append(upload, 0, pieces(b"123"), on_chunk=lambda _: None)
    with pytest.raises(UploadShort):
        await store.commit(upload, Digest.of(b"12345"), 5)


async def test_upload_can_be_read_back_in_parts(store: BlobStore) -> None:
    upload = await store.new_upload()
    await store.append(upload, 0, pieces(b"0123"), on_chunk=lambda _: None)
    await store.append(upload, 4, pieces(b"4567"), on_chunk=lambda _: None)
    assert b"".join([piece async for piece in await store.read_upload(upload, 2, 7)]) == b"23456"
    with pytest.raises(UploadShort):
        await store.read_upload(upload, 0, 9)


async def test_aborted_upload_holds_nothing(store: BlobStore) -> None:
    upload = await store.new_upload()
    await store.append(upload, 0, pieces(b"123"), on_chunk=lambda _: None)
    await store.abort(upload)
    await store.abort(upload)
    assert await store.upload_size(upload) == 0


async def test_abort_after_commit_leaves_the_blob(store: BlobStore) -> None:
    upload = await store.new_upload()
    await store.append(upload, 0, pieces(b"123"), on_chunk=lambda _: None)
    phys = await store.commit(upload, Digest.of(b"123"), 3)
    await store.abort(upload)
    assert await stored_bytes(store, phys) == b"123"


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [(0, 1, b"0"), (3, 7, b"3456"), (7, None, b"789"), (9, 10, b"9"), (10, None, b""), (4, 4, b"")],
    ids=["first", "middle", "rest", "last", "end", "nothing"],
)
async def test_range_of_a_blob(store: BlobStore, start: int, end: int | None, wanted: bytes) -> None:
    phys = await store.put(Digest.of(b"0123456789"), b"0123456789")
    assert await stored_bytes(store, phys, start, end) == wanted


async def test_same_bytes_twice_get_two_names(store: BlobStore) -> None:
    first, _ = await pushed(store, b"same")
    second, _ = await pushed(store, b"same")
    third = await store.put(Digest.of(b"same"), b"same")
    assert len({first, second, third}) == 3
    await store.delete(first)
    assert await stored_bytes(store, second) == await stored_bytes(store, third) == b"same"


async def test_missing_blob_is_told_before_the_first_byte(store: BlobStore) -> None:
    phys = await store.put(Digest.of(b"x"), b"x")
    await store.delete(phys)
    await store.delete(phys)
    assert await store.size(phys) is None
    for end in (None, 1):
        with pytest.raises(BlobMissing):
            await store.open(phys, 0, end)


async def test_reader_that_has_begun_outlives_the_delete_or_fails_aloud(store: BlobStore) -> None:
    """G5: a blob cut short never looks complete."""
    data = os.urandom(2 * MIB)
    phys = await store.put(Digest.of(data), data)
    stream = await store.open(phys)
    got = await anext(stream)
    await store.delete(phys)
    try:
        got += b"".join([piece async for piece in stream])
    except BlobMissing:
        return
    assert got == data


async def test_listing_shows_every_blob_with_its_size(store: BlobStore) -> None:
    names = {await store.put(Digest.of(data), data): len(data) for data in (b"a", b"bb", b"")}
    assert {stored.phys: stored.size async for stored in store.list()} == names


async def test_identity_is_kept_and_replaced(store: BlobStore) -> None:
    assert await store.read_identity() is None
    await store.write_identity("abc", 1)
    await store.write_identity("abc", 2)
    assert await store.read_identity() == StoreIdentity("abc", 2)


@pytest.mark.parametrize(
    "name", ["", "../x", "blobs/../identity.json", "/etc/passwd", "blobs/sha256/aa/b", "identity.json"]
)
async def test_names_of_another_shape_are_refused(store: BlobStore, name: str) -> None:
    """K7: nothing a row says can lead outside the root."""
    with pytest.raises(InvalidKey):
        await store.open(name)
    with pytest.raises(InvalidKey):
        await store.delete(name)
    with pytest.raises(InvalidKey):
        await store.abort(name)


async def test_healthy_store_passes_its_check(store: BlobStore) -> None:
    await store.prepare()
    await store.check()


async def test_twenty_uploads_at_once_stay_apart(store: BlobStore) -> None:
    bodies = [bytes([number]) * (MIB + number) for number in range(20)]
    done = await asyncio.gather(*(pushed(store, body[:MIB], body[MIB:]) for body in bodies))
    for body, (phys, digest) in zip(bodies, done, strict=True):
        assert digest == Digest.of(body)
        assert await stored_bytes(store, phys) == body


async def test_a_request_into_an_object_store_is_seen_by_other_processes_while_it_comes(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The store itself has nothing until it ends, however large the layer is."""
    receiving, watching = _objects(request, tmp_path), _objects(request, tmp_path)
    upload, go_on = await receiving.new_upload(), asyncio.Event()
    await receiving.append(upload, 0, pieces(b"a" * 1000), on_chunk=lambda _: None)
    assert await watching.arriving(upload) == 0

    async def body() -> AsyncIterator[bytes]:
        yield b"b" * MIB
        yield b"c" * MIB
        await go_on.wait()
        yield b"d" * 500

    coming = asyncio.create_task(receiving.append(upload, 1000, body(), on_chunk=lambda _: None))
    async with asyncio.timeout(60):
        while await watching.arriving(upload) < 1000 + 2 * MIB:
            await asyncio.sleep(0.01)
    assert await watching.upload_size(upload) == 1000
    go_on.set()
    assert await coming == 2 * MIB + 500
    assert (await watching.arriving(upload), await watching.upload_size(upload)) == (0, 1500 + 2 * MIB)
    await receiving.close()
    await watching.close()


async def test_what_a_killed_process_counted_goes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    store, folder = _objects(request, tmp_path), tmp_path / "arriving"
    folder.mkdir()
    for name, age in (("old", 2 * FORGOTTEN_S), ("new", 0.0)):
        (folder / name).write_bytes(b"")
        then = (folder / name).stat().st_mtime - age
        os.utime(folder / name, (then, then))
    await store.prepare()
    assert [path.name for path in folder.iterdir()] == ["new"]
    await store.close()


async def test_a_folder_that_cannot_be_written_costs_the_count_alone(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (tmp_path / "arriving").write_bytes(b"in the way")
    store = _objects(request, tmp_path)
    phys, _digest = await pushed(store, b"all", b" of it")
    assert await stored_bytes(store, phys) == b"all of it"
    await store.close()


@pytest.mark.parametrize("may_link", [False, True])
async def test_a_file_becomes_a_blob_where_blobs_are_files(
    store: BlobStore, tmp_path: Path, may_link: bool
) -> None:
    source, data = tmp_path / "data", os.urandom(3 * MIB + 1)
    source.write_bytes(data)
    taken = await store.take_file(source, Digest.of(data), len(data), may_link=may_link)
    if store.file_path("blobs/sha256/00/" + "0" * 64 + ".00000000000000000000000000000000") is None:
        assert taken is None
        return
    assert taken is not None
    phys, way = taken
    assert way == "linked" if may_link else way in {"cloned", "copied"}
    assert await store.size(phys) == len(data)
    source.unlink()
    assert b"".join([piece async for piece in await store.open(phys)]) == data


@pytest.mark.parametrize("may_link", [False, True])
@pytest.mark.parametrize("spoilt", ["other bytes", "shorter", "gone"])
async def test_a_file_with_other_bytes_leaves_nothing(
    store: BlobStore, tmp_path: Path, may_link: bool, spoilt: str
) -> None:
    source, data = tmp_path / "data", os.urandom(MIB)
    if spoilt != "gone":
        source.write_bytes(data[:-1] + (b"" if spoilt == "shorter" else bytes([data[-1] ^ 1])))
    try:
        taken = await store.take_file(source, Digest.of(data), len(data), may_link=may_link)
    except (StoredBytesDiffer, StoredFileUnreadable):
        pass
    else:
        assert taken is None
    assert [stored async for stored in store.list()] == []
    assert [stored async for stored in store.list_uploads()] == []
