"""Backups: consistent, incremental, encrypted if asked, and back again to any place."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyrage.x25519 import Identity

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.oci.digest import Digest
from entrepot.server.backup.archive import BackupArchive
from entrepot.server.backup.backup import back_up, check_backup, restore, store_identity_of
from entrepot.server.backup.encryption import CHUNK_BYTES, BackupKey
from entrepot.server.backup.errors import BackupInvalid, BackupMissing, TargetInUse
from entrepot.server.backup.places import BackupPlace, open_place
from entrepot.server.db.settings import get_identity
from tests.support.seaweedfs import S3Location
from tests.unit.server.backup.test_migrate import fill, push_with_a_bad_sector, rows
from tests.unit.server.conftest import Places
from tests.unit.server.world import World

pytestmark = pytest.mark.anyio

KEY = BackupKey(Identity.generate())


@asynccontextmanager
async def archive_at(
    place: BackupPlace, key: BackupKey | None = None, *, store_id: str | None = "test-store"
) -> AsyncIterator[BackupArchive]:
    opened = await BackupArchive.open(place, key, store_id=store_id)
    yield opened
    await opened.close()


@pytest.fixture(params=["folder", "tar", "bucket"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Opens the same place again and again."""
    if request.param != "bucket":
        name = str(tmp_path / ("backup.tar" if request.param == "tar" else "backup"))
        return lambda create: open_place(name, create=create)
    place: S3Location = request.getfixturevalue("s3_location")
    return lambda create: open_place(
        f"s3://{place.bucket}/{place.prefix}/backup",
        create=create,
        endpoint=place.endpoint,
        region="us-east-1",
        access_key_id=place.access_key,
        secret_access_key=place.secret_key,
        allow_http=True,
    )


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
async def test_a_registry_comes_back_elsewhere(
    world: World, places: Places, where: Any, key: BackupKey | None, tmp_path: Path
) -> None:
    await fill(world)
    await world.push_image(bytes(3 * CHUNK_BYTES + 7), tag="large")
    assert await store_identity_of(world.catalog) == "test-store"
    async with archive_at(where(True), key) as archive:
        done = await back_up(world.catalog, world.store, archive)
        assert done.copied == await world.count_blobs()
    new = places.side("sqlite", "folder", "new")
    async with archive_at(where(False), key, store_id=None) as archive:
        snapshot = await archive.find(None)
        assert await check_backup(archive, snapshot) == []
        restored = await restore(archive, snapshot, new.catalog, new.store, tmp_path / "notes.db")
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
    async with archive_at(open_place(str(tmp_path / "b"), create=True)) as archive:
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
        restored = await restore(archive, first.snapshot, new.catalog, new.store, tmp_path / "notes.db")
        assert restored.copied == 2


async def test_going_back_over_the_same_store_copies_nothing(
    world: World, places: Places, tmp_path: Path
) -> None:
    """B4: the catalog is lost, the blobs are not; the epoch rises above that of the store."""
    await fill(world)
    async with archive_at(open_place(str(tmp_path / "b"), create=True)) as archive:
        done = await back_up(world.catalog, world.store, archive)
        new = places.side("sqlite", "folder", "new")
        restored = await restore(archive, done.snapshot, new.catalog, world.store, tmp_path / "notes.db")
        assert (restored.copied, restored.kept) == (0, await world.count_blobs())
        assert restored.epoch == 2
        assert restored.check.findings == []
        with pytest.raises(TargetInUse):
            await restore(archive, done.snapshot, new.catalog, world.store, tmp_path / "notes.db")
        again = await restore(
            archive, done.snapshot, new.catalog, world.store, tmp_path / "n", overwrite=True
        )
        assert again.epoch == 3


async def test_damage_is_told_and_never_hidden(world: World, places: Places, tmp_path: Path) -> None:
    await world.push_image(b"good", b"bad", tag="v1")
    bad, good = Digest.of(b"bad"), Digest.of(b"good")
    (world.root / await world.phys(bad)).write_bytes(b"odd")
    async with archive_at(open_place(str(tmp_path / "b"), create=True)) as archive:
        done = await back_up(world.catalog, world.store, archive)
        assert done.snapshot.damaged == (str(bad),)
        kept = tmp_path / "b" / "blobs" / "sha256" / good.hex[:2] / good.hex
        kept.write_bytes(b"doog")
        assert sorted(await check_backup(archive, done.snapshot)) == sorted([bad, good])
        new = places.side("sqlite", "folder", "new")
        restored = await restore(archive, done.snapshot, new.catalog, new.store, tmp_path / "notes.db")
        assert restored.damaged == tuple(sorted([str(bad), str(good)]))
        assert {one.kind for one in restored.check.findings} == {"blob-out-of-service"}


async def test_a_bad_sector_ends_no_backup(world: World, where: Any) -> None:
    """C7: what can't be read is named, and all else is copied."""
    bad = await push_with_a_bad_sector(world)
    async with archive_at(where(True)) as archive:
        done = await back_up(world.catalog, world.store, archive)
    assert done.snapshot.damaged == (str(bad),)
    async with archive_at(where(False), store_id=None) as archive:
        assert await check_backup(archive, done.snapshot) == [bad]


async def test_a_blob_that_can_not_be_read_any_more_is_restored(
    world: World, places: Places, tmp_path: Path
) -> None:
    await world.push_image(b"good", b"bad", tag="v1")
    async with archive_at(open_place(str(tmp_path / "b"), create=True)) as archive:
        done = await back_up(world.catalog, world.store, archive)
        world.disk.bad_sectors[world.root / await world.phys(Digest.of(b"bad"))] = 0
        new = places.side("sqlite", "folder", "new")
        restored = await restore(archive, done.snapshot, new.catalog, world.store, tmp_path / "notes.db")
    assert (restored.copied, restored.kept) == (1, 2)
    assert restored.check.findings == []


async def test_one_tar_is_one_backup(world: World, tmp_path: Path) -> None:
    await world.push_image(b"x")
    where = str(tmp_path / "b.tar")
    async with archive_at(open_place(where, create=True)) as archive:
        await back_up(world.catalog, world.store, archive)
    with pytest.raises(InvalidInput, match="finished"):
        open_place(where, create=True)
    with pytest.raises(InvalidInput, match="no place"):
        open_place("http://backups.example.org/x", create=True)


@pytest.mark.parametrize("at", ["2023-11-14", "2023-11-14T22:13", "20231114T22", "2023-11-14T22:13:20Z"])
async def test_a_time_is_written_as_people_do(world: World, tmp_path: Path, at: str) -> None:
    await world.push_image(b"x")
    async with archive_at(open_place(str(tmp_path / "b"), create=True)) as archive:
        done = await back_up(world.catalog, world.store, archive)
        assert await archive.find(at) == done.snapshot
        with pytest.raises(BackupInvalid, match="no time"):
            await archive.find("yesterday")


async def test_an_interrupted_restore_goes_on(
    world: World, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C4: what was brought back is not brought again."""
    await fill(world)
    new, notes = places.side("sqlite", "folder", "new"), tmp_path / "notes.db"
    async with archive_at(open_place(str(tmp_path / "b"), create=True)) as archive:
        done = await back_up(world.catalog, world.store, archive)

        def dies(*_: object) -> int:
            raise KeyError

        with monkeypatch.context() as broken:
            broken.setattr("entrepot.server.backup.backup._load", dies)
            with pytest.raises(KeyError):
                await restore(archive, done.snapshot, new.catalog, new.store, notes)
        again = await restore(archive, done.snapshot, new.catalog, new.store, notes)
    assert (again.copied, again.check.findings) == (0, [])
    assert len([one async for one in new.store.list()]) == await world.count_blobs()
    assert not notes.exists()


async def test_rows_that_are_damaged_or_cut_short_are_told(
    world: World, places: Places, tmp_path: Path
) -> None:
    await fill(world)
    async with archive_at(open_place(str(tmp_path / "b"), create=True)) as archive:
        done = await back_up(world.catalog, world.store, archive)
        (rows_file,) = (tmp_path / "b" / "snapshots").glob("*.rows")
        whole = rows_file.read_bytes()
        new = places.side("sqlite", "folder", "new")
        for broken in (whole[:-3], whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1])):
            rows_file.write_bytes(broken)
            with pytest.raises(BackupInvalid, match="rows of the catalog"):
                await restore(archive, done.snapshot, new.catalog, new.store, tmp_path / "n")
            with pytest.raises(BackupInvalid, match="rows of the catalog"):
                await check_backup(archive, done.snapshot)
        assert await new.catalog.read(get_identity) is None


async def test_a_backup_of_a_newer_schema_is_refused_before_anything_is_copied(
    world: World, places: Places, tmp_path: Path
) -> None:
    await fill(world)
    new = places.side("sqlite", "folder", "new")
    async with archive_at(open_place(str(tmp_path / "b"), create=True)) as archive:
        done = await back_up(world.catalog, world.store, archive)
        later = replace(done.snapshot, schema="9999")
        with pytest.raises(BackupInvalid, match="newer version"):
            await restore(archive, later, new.catalog, new.store, tmp_path / "n")
    assert [one async for one in new.store.list()] == []


async def test_looking_for_backups_makes_nothing(tmp_path: Path) -> None:
    for name in ("none", "none.tar"):
        place = open_place(str(tmp_path / name), create=False)
        with pytest.raises(BackupMissing):
            await BackupArchive.open(place, None)
        await place.close(complete=False)
    assert list(tmp_path.iterdir()) == []


async def test_files_of_killed_runs_are_removed(tmp_path: Path) -> None:
    place = open_place(str(tmp_path / "b"), create=True)
    left, recent = tmp_path / "b" / ".x.123456", tmp_path / "b" / ".y.123456"
    for path in (left, recent):
        path.write_bytes(b"half")
    os.utime(left, (1, 1))
    assert [one async for one in place.listed(".")] == []
    assert not left.exists()
    assert recent.exists()


async def test_two_runs_do_not_write_one_tar(tmp_path: Path) -> None:
    where = str(tmp_path / "b.tar")
    place = open_place(where, create=True)
    with pytest.raises(EntrepotError, match="another run"):
        open_place(where, create=True)
    await place.close(complete=False)
    assert list(tmp_path.iterdir()) == []


async def test_keys_and_registries_are_not_mixed_up(world: World, tmp_path: Path) -> None:
    await world.push_image(b"x")
    for name, made, asked, store_id in (
        ("a", KEY, None, "test-store"),
        ("b", None, KEY, "test-store"),
        ("c", None, None, "another"),
    ):
        place = open_place(str(tmp_path / name), create=True)
        async with archive_at(place, made) as archive:
            await back_up(world.catalog, world.store, archive)
        with pytest.raises(BackupInvalid):
            await BackupArchive.open(place, asked, store_id=store_id)
    with pytest.raises(BackupInvalid, match="another key"):
        await BackupArchive.open(
            open_place(str(tmp_path / "a"), create=False), BackupKey(Identity.generate())
        )


@pytest.mark.parametrize("suffix", ["json", "rows", "key"])
async def test_a_file_of_another_run_is_refused(world: World, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "place"
    for content in (b"x", b"y"):
        await world.push_image(content, tag=content.decode())
        async with archive_at(open_place(str(folder), create=True), KEY) as archive:
            await back_up(world.catalog, world.store, archive, secret=b"the registry's key " + content)
        world.clock.advance(3600)
    older, newer = sorted((folder / "snapshots").glob(f"*.{suffix}"))
    shutil.copy(older, newer)
    async with archive_at(open_place(str(folder), create=False), KEY) as archive:

        async def read_all() -> None:
            snapshot = await archive.find(None)
            await check_backup(archive, snapshot)
            await archive.secret(snapshot)

        with pytest.raises(BackupInvalid, match="another backup's"):
            await read_all()
