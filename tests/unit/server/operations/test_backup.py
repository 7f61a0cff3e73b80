"""Backups: consistent, incremental, encrypted if asked, and back again to any place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from entrepot.errors import EntrepotError
from entrepot.oci.digest import Digest
from entrepot.server.db.settings import get_identity
from entrepot.server.operations.archive import Archive
from entrepot.server.operations.backup import back_up, check_backup, restore, store_identity_of
from entrepot.server.operations.crypt import FRAME_BYTES, BackupKey
from entrepot.server.operations.errors import BackupInvalid, BackupMissing, TargetInUse
from entrepot.server.operations.places import BackupPlace, open_place
from tests.support.seaweedfs import S3Location
from tests.unit.server.jobs.world import World
from tests.unit.server.operations.conftest import Places
from tests.unit.server.operations.test_migrate import fill, rows

pytestmark = pytest.mark.anyio

KEY = BackupKey(bytes(range(32)))


@asynccontextmanager
async def archive_at(
    place: BackupPlace, key: BackupKey | None = None, *, store_id: str | None = "test-store"
) -> AsyncIterator[Archive]:
    opened = await Archive.open(place, key, store_id=store_id)
    yield opened
    await opened.close()


@pytest.fixture(params=["folder", "tar", "bucket"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Opens the same place again and again."""
    if request.param != "bucket":
        name = str(tmp_path / ("backup.tar" if request.param == "tar" else "backup"))
        return lambda: open_place(name)
    place: S3Location = request.getfixturevalue("s3_location")
    return lambda: open_place(
        f"s3://{place.bucket}/{place.prefix}/backup",
        endpoint=place.endpoint,
        region="us-east-1",
        access_key_id=place.access_key,
        secret_access_key=place.secret_key,
        allow_http=True,
    )


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
async def test_a_registry_comes_back_elsewhere(
    world: World, places: Places, where: Any, key: BackupKey | None
) -> None:
    await fill(world)
    await world.push_image(bytes(3 * FRAME_BYTES + 7), tag="large")
    assert await store_identity_of(world.catalog) == "test-store"
    async with archive_at(where(), key) as archive:
        done = await back_up(world.catalog, world.store, archive)
        assert done.copied == await world.count_blobs()
    new = places.side("sqlite", "folder", "new")
    async with archive_at(where(), key, store_id=None) as archive:
        snapshot = await archive.find(None)
        assert await check_backup(archive, snapshot) == []
        restored = await restore(archive, snapshot, new.catalog, new.store)
    assert restored.damaged == ()
    assert restored.check.findings == []
    assert restored.check.blobs == await world.count_blobs()
    assert await new.catalog.read(rows) == await world.catalog.read(rows)
    identity = await new.catalog.read(get_identity)
    assert identity is not None
    assert (identity.store_id, identity.epoch) == ("test-store", 2)


async def test_the_next_backup_copies_what_is_new_and_older_ones_stay(
    world: World, places: Places, tmp_path: Path
) -> None:
    await world.push_image(b"first", tag="v1")
    async with archive_at(open_place(str(tmp_path / "b"))) as archive:
        first = await back_up(world.catalog, world.store, archive)
        world.clock.advance(3600)
        await world.push_image(b"second", tag="v1")
        second = await back_up(world.catalog, world.store, archive)
        assert second.copied == 1
        assert [one.name for one in await archive.snapshots()] == [first.snapshot.name, second.snapshot.name]
        assert await archive.find(first.snapshot.name[:13]) == first.snapshot
        with pytest.raises(BackupMissing):
            await archive.find("1999")
        new = places.side("postgresql", "folder", "then")
        restored = await restore(archive, first.snapshot, new.catalog, new.store)
        assert restored.copied == 2


async def test_going_back_over_the_same_store_copies_nothing(
    world: World, places: Places, tmp_path: Path
) -> None:
    """B4: the catalog is lost, the blobs are not; the epoch rises above that of the store."""
    await fill(world)
    async with archive_at(open_place(str(tmp_path / "b"))) as archive:
        done = await back_up(world.catalog, world.store, archive)
        new = places.side("sqlite", "folder", "new")
        restored = await restore(archive, done.snapshot, new.catalog, world.store)
        assert (restored.copied, restored.kept) == (0, await world.count_blobs())
        assert restored.epoch == 2
        assert restored.check.findings == []
        with pytest.raises(TargetInUse):
            await restore(archive, done.snapshot, new.catalog, world.store)
        again = await restore(archive, done.snapshot, new.catalog, world.store, overwrite=True)
        assert again.epoch == 3


async def test_damage_is_told_and_never_hidden(world: World, places: Places, tmp_path: Path) -> None:
    await world.push_image(b"good", b"bad", tag="v1")
    bad, good = Digest.of(b"bad"), Digest.of(b"good")
    (world.root / await world.phys(bad)).write_bytes(b"odd")
    async with archive_at(open_place(str(tmp_path / "b"))) as archive:
        done = await back_up(world.catalog, world.store, archive)
        assert done.snapshot.damaged == (str(bad),)
        kept = tmp_path / "b" / "blobs" / "sha256" / good.hex[:2] / good.hex
        kept.write_bytes(b"doog")
        assert await check_backup(archive, done.snapshot) == sorted([str(bad), str(good)])
        new = places.side("sqlite", "folder", "new")
        restored = await restore(archive, done.snapshot, new.catalog, new.store)
        assert restored.damaged == tuple(sorted([str(bad), str(good)]))
        assert {one.kind for one in restored.check.findings} == {"blob-out-of-service"}


async def test_one_tar_is_one_backup(world: World, tmp_path: Path) -> None:
    await world.push_image(b"x")
    where = str(tmp_path / "b.tar")
    async with archive_at(open_place(where)) as archive:
        await back_up(world.catalog, world.store, archive)
    with pytest.raises(EntrepotError):
        async with archive_at(open_place(where)) as archive:
            await back_up(world.catalog, world.store, archive)


async def test_keys_and_registries_are_not_mixed_up(world: World, tmp_path: Path) -> None:
    await world.push_image(b"x")
    for name, made, asked, store_id in (
        ("a", KEY, None, "test-store"),
        ("b", None, KEY, "test-store"),
        ("c", None, None, "another"),
    ):
        place = open_place(str(tmp_path / name))
        async with archive_at(place, made) as archive:
            await back_up(world.catalog, world.store, archive)
        with pytest.raises(BackupInvalid):
            await Archive.open(place, asked, store_id=store_id)
    wrong = await Archive.open(open_place(str(tmp_path / "a")), BackupKey(bytes(32)))
    with pytest.raises(BackupInvalid):
        await wrong.find(None)


async def sealed(name: str, data: bytes) -> bytes:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 300_000):
            yield data[start : start + 300_000]

    return b"".join([piece async for piece in KEY.seal(name, pieces())])


async def opened(name: str, data: bytes) -> bytes:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 500_000):
            yield data[start : start + 500_000]

    return b"".join([piece async for piece in KEY.open(name, pieces())])


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES])
async def test_sealed_files_open_as_they_were_and_no_other_way(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    kept = await sealed("a", data)
    assert len(kept) == KEY.sealed_size(size)
    assert await opened("a", kept) == data
    frame = FRAME_BYTES + 16
    for broken in (
        kept[:-1],
        kept[: -frame or None] if size > FRAME_BYTES else kept[:20],
        kept[:-1] + bytes([kept[-1] ^ 1]),
        kept + b"x",
        b"",
    ):
        with pytest.raises(BackupInvalid):
            await opened("a", broken)
    with pytest.raises(BackupInvalid):
        await opened("b", kept)
