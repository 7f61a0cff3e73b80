"""The cache on a node's disk: bounded, shared by processes, and never the reason that a read fails."""

import os
from pathlib import Path

import pytest

from entrepot.oci.digest import Digest
from entrepot.server.storage import memory
from entrepot.server.storage.errors import BlobMissing
from entrepot.server.storage.memory import memory_store
from entrepot.server.storage.readcache import ReadCache

pytestmark = pytest.mark.anyio
LIMIT = 100_000


class Place:
    def __init__(self, folder: Path) -> None:
        self.store = memory_store()
        self.found: list[str] = []
        self.folder = folder
        self.cache = ReadCache(self.store, folder, LIMIT, count=self.found.append)

    async def put(self, data: bytes) -> str:
        return await self.store.put(Digest.of(data), data)

    async def read(self, phys: str, size: int, start: int = 0, end: int | None = None) -> bytes:
        return b"".join([piece async for piece in await self.cache.open(phys, size, start, end)])

    def used(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "cache")


async def test_second_read_needs_no_store(place: Place) -> None:
    data = os.urandom(20_000)
    phys = await place.put(data)
    assert await place.read(phys, len(data)) == data
    await place.store.delete(phys)
    assert await place.read(phys, len(data)) == data
    assert await place.read(phys, len(data), 100, 150) == data[100:150]
    assert place.found == ["miss", "hit", "hit"]


async def test_a_copy_from_before_a_power_cut_is_not_believed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies are not synced: the cut leaves the size and the name, and zeros for the bytes."""
    data = os.urandom(20_000)
    phys = await place.put(data)
    assert await place.read(phys, len(data)) == data
    for path in place.folder.iterdir():
        path.write_bytes(bytes(len(data)))
    monkeypatch.setattr("entrepot.server.storage.readcache.boot_id", lambda: "0123456789ab", raising=False)
    place.cache = ReadCache(place.store, place.folder, LIMIT, count=place.found.append)
    assert await place.read(phys, len(data)) == data
    assert await place.read(phys, len(data)) == data
    assert place.found == ["miss", "miss", "hit"]


async def test_it_never_holds_more_than_its_limit_and_forgets_what_was_read_longest_ago(place: Place) -> None:
    blobs = {await place.put(data): data for data in (os.urandom(20_000) for _ in range(12))}
    for number, (phys, data) in enumerate(blobs.items()):
        assert await place.read(phys, len(data)) == data
        assert place.used() <= LIMIT
        for path in place.folder.iterdir():
            os.utime(path, (path.stat().st_mtime - 10, path.stat().st_mtime - 10))
        first = next(iter(blobs))
        assert await place.read(first, 20_000) == blobs[first], number
    assert place.found.count("miss") == len(blobs)


async def test_what_is_too_large_or_read_in_part_is_not_kept(place: Place) -> None:
    large, small = os.urandom(LIMIT // 2), os.urandom(1000)
    for data, end in ((large, None), (small, 10)):
        phys = await place.put(data)
        assert await place.read(phys, len(data), 0, end) == data[:end]
    assert place.used() == 0


async def test_copy_is_there_when_the_last_piece_goes_out(place: Place) -> None:
    """Its reader may ask for a part of it before this process has heard that the answer is out."""
    data = os.urandom(20_000)
    phys = await place.put(data)
    stream = await place.cache.open(phys, len(data), 0, None)
    got = b""
    while len(got) < len(data):
        got += await anext(stream)
    part = await place.cache.open(phys, len(data), 5, 10)
    assert b"".join([piece async for piece in part]) == data[5:10]
    assert place.found == ["miss", "hit"]
    await stream.aclose()


async def test_read_that_ends_early_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PIECE_BYTES", 1000)
    phys = await place.put(os.urandom(24_000))
    stream = await place.cache.open(phys, 24_000, 0, None)
    await anext(stream)
    await stream.aclose()
    assert place.used() == 0


async def test_copy_that_was_cut_short_is_not_used(place: Place) -> None:
    data = os.urandom(20_000)
    phys = await place.put(data)
    await place.read(phys, len(data))
    (copy,) = place.folder.iterdir()
    os.truncate(copy, 10)
    assert await place.read(phys, len(data)) == data


async def test_missing_blob_is_told_as_without_a_cache(place: Place) -> None:
    phys = await place.put(b"x")
    await place.store.delete(phys)
    with pytest.raises(BlobMissing):
        await place.read(phys, 1)


async def test_folder_that_is_gone_costs_speed_only(place: Place) -> None:
    data = os.urandom(20_000)
    phys = await place.put(data)
    place.folder.rmdir()
    assert await place.read(phys, len(data)) == data
