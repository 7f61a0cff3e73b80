"""Blobs whose bytes were lost come back by themselves, where there is somebody to ask."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.server.backup.archive import BackupArchive
from entrepot.server.backup.backup import back_up
from entrepot.server.backup.encryption import BackupKey, make_key_file
from entrepot.server.backup.places import open_place
from entrepot.server.backup.repair import BlobSource, Mender, NothingHere, open_sources
from entrepot.server.config.model import RepairSource
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.db.settings import get_identity
from entrepot.server.db.tables import event
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.storage.filesystem import filesystem_store
from entrepot.server.upkeep.integrity.fsck import FsckSettings, fsck
from entrepot.server.upkeep.integrity.lost_blobs import Lost, find_lost
from entrepot.server.upkeep.integrity.scrub import scrub
from entrepot.server.upkeep.integrity.sure_store import sure_store
from tests.unit.server.world import REPO, World

pytestmark = pytest.mark.anyio
LAYER = b"precious layer"
DIGEST = Digest.of(LAYER)


class Kept:
    """A place that gives `data`, or has nothing."""

    def __init__(self, name: str, data: bytes | None) -> None:
        self.name = name
        self.data = data
        self.asked: list[Lost] = []

    async def fetch(self, lost: Lost) -> AsyncGenerator[bytes, None]:
        self.asked.append(lost)
        if self.data is None:
            raise NothingHere("no")
        for start in range(0, len(self.data), 5):
            yield self.data[start : start + 5]


def mender(world: World, *sources: BlobSource) -> Mender:
    return Mender(world.catalog, world.store, sources, trash_delay_s=3600)


async def lose(world: World, how: str = "removed") -> Path:
    await world.push_image(LAYER, tag="v1")
    path = world.root / await world.phys(DIGEST)
    if how == "removed":
        path.unlink()
    elif how == "bad sector":
        world.disk.bad_sectors[path] = 0
    else:
        path.write_bytes(b"X" + LAYER[1:])
    return path


async def events(world: World) -> list[str]:
    def read(connection: Connection) -> list[str]:
        kinds = ("blob-damaged", "blob-repaired")
        statement = select(event.c.kind).where(event.c.kind.in_(kinds)).order_by(event.c.id)
        return list(connection.execute(statement).scalars())

    return await world.catalog.read(read)


@pytest.mark.parametrize("how", ["removed", "flipped", "bad sector"])
async def test_scrub_brings_a_lost_blob_back_under_a_new_name(world: World, how: str) -> None:
    old = await lose(world, how)
    nothing, wrong, right = Kept("nothing", None), Kept("wrong", b"other bytes!!"), Kept("right", LAYER)
    report = await scrub(world.catalog, world.store, mend=mender(world, nothing, wrong, right))
    assert report.repaired == {str(DIGEST): "right"}
    assert report.lost == 0
    assert [(one.tags, one.repaired_from) for one in report.damaged] == [((f"{REPO}:v1",), "right")]
    assert right.asked[0].repositories == (REPO,)
    assert await world.readable(DIGEST)
    assert world.root / await world.phys(DIGEST) != old
    assert await events(world) == ["blob-damaged", "blob-repaired"]
    assert (await world.fsck()).findings == []
    await world.collect_and_sweep()
    assert await world.readable(DIGEST)
    assert not old.exists()


async def test_what_nobody_has_yet_is_asked_for_again_in_each_run(world: World) -> None:
    await lose(world)
    place = Kept("late", None)
    first = await scrub(world.catalog, world.store, mend=mender(world, place))
    assert (first.repaired, first.lost) == ({}, 1)
    place.data = LAYER
    second = await scrub(world.catalog, world.store, mend=mender(world, place))
    assert (second.repaired, second.lost) == ({str(DIGEST): "late"}, 0)
    assert await world.readable(DIGEST)


async def test_looking_whether_bytes_are_there_again_keeps_to_the_rate(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lose(world, "flipped")
    await scrub(world.catalog, world.store)
    world.clock.advance(1)
    slept_s = list[float]()
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept_s.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    report = await scrub(world.catalog, world.store, bytes_per_s=10, mend=mender(world))
    assert report.bytes == len(b"{}"), "all that is in service"
    assert sum(slept_s) * 10 == pytest.approx(len(LAYER) + report.bytes)


class Refusing:
    """A catalog that makes no change."""

    def __init__(self, catalog: Catalog, error: BaseException) -> None:
        self._catalog = catalog
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    async def write(self, *_: object) -> None:
        raise self._error


def unknown() -> CatalogUnavailable:
    error = CatalogUnavailable("the connection is gone", retry_after_s=1)
    error.outcome_unknown = True
    return error


@pytest.mark.parametrize(
    ("error", "copies"),
    [
        (CatalogUnavailable("the disk is full", retry_after_s=1), 0),
        (RuntimeError("a mistake"), 0),
        (unknown(), 1),
        (asyncio.CancelledError(), 1),
    ],
    ids=["refused", "mistaken", "unknown", "cancelled"],
)
async def test_a_copy_stays_only_where_a_row_may_name_it(
    world: World, error: BaseException, copies: int
) -> None:
    """Else each try on a full disk would leave one more behind."""
    (await lose(world)).unlink(missing_ok=True)
    await scrub(world.catalog, world.store)
    lost = await find_lost(world.catalog, str(DIGEST))
    assert lost is not None
    refusing: Any = Refusing(world.catalog, error)
    mend = Mender(refusing, world.store, [Kept("right", LAYER)], trash_delay_s=3600)
    with pytest.raises(type(error)) as raised:
        await mend(lost)
    assert raised.value is error
    assert len([name for name in world.files() if name.startswith(DIGEST.hex)]) == copies


async def test_a_copy_that_can_not_be_removed_hides_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lose(world)
    await scrub(world.catalog, world.store)
    lost = await find_lost(world.catalog, str(DIGEST))
    assert lost is not None
    refused = CatalogUnavailable("the disk is full", retry_after_s=1)
    refusing: Any = Refusing(world.catalog, refused)

    async def fails(phys: str) -> None:
        raise StorageFailed(f"removing {phys} failed")

    store = filesystem_store(world.root)
    monkeypatch.setattr(store, "delete", fails)
    with pytest.raises(CatalogUnavailable) as raised:
        await Mender(refusing, store, [Kept("right", LAYER)], trash_delay_s=3600)(lost)
    assert raised.value is refused
    await store.close()


async def test_bytes_that_are_there_again_are_put_back_into_service(world: World) -> None:
    """C7: a disk that was not mounted, a bucket that answered 404 for a while: nothing was lost at all."""
    path = await lose(world, "kept")
    path.write_bytes(LAYER)
    aside = path.with_name("aside")
    path.rename(aside)
    assert (await scrub(world.catalog, world.store, mend=mender(world))).lost == 1
    aside.rename(path)
    report = await scrub(world.catalog, world.store, mend=mender(world))
    assert (report.repaired, report.lost) == ({str(DIGEST): "the store itself"}, 0)
    assert world.root / await world.phys(DIGEST) == path, "nothing is copied"
    assert await world.readable(DIGEST)
    assert await events(world) == ["blob-damaged", "blob-repaired"]
    assert (await world.fsck()).findings == []


async def test_a_store_without_the_catalogs_mark_is_not_believed_to_lack_a_blob(world: World) -> None:
    """B4: an endpoint that answers 404 to everything takes no registry out of service."""
    await lose(world)
    known = await world.catalog.read(get_identity)
    assert known is not None
    await world.store.write_identity("another", known.epoch)
    sure = sure_store(world.catalog, world.store)
    with pytest.raises(StorageFailed, match="does not carry this registry's mark"):
        await scrub(world.catalog, sure, mend=mender(world))
    assert await events(world) == []
    report = await fsck(world.catalog, world.store, FsckSettings(repair=True, mend=mender(world)))
    assert [(one.kind, one.repaired) for one in report.findings] == [
        ("identity", None),
        ("blob-missing", None),
    ]
    assert await events(world) == [], "it is in service still"
    await world.store.write_identity(known.store_id, known.epoch)
    assert (await scrub(world.catalog, sure, mend=mender(world))).lost == 1


async def test_what_fsck_could_not_bring_back_is_not_mended(world: World) -> None:
    """Out of service is what is left to do, not success: the images still can't be pulled."""
    await lose(world)
    unneeded = await world.push_blob(b"nobody's")
    (world.root / await world.phys(unneeded)).unlink()
    report = await fsck(world.catalog, world.store, FsckSettings(repair=True, mend=mender(world)))
    done = {one.subject: (one.repaired, one.detail) for one in report.findings}
    assert done[str(DIGEST)][0] is None
    assert "until an image that has it is pushed again" in done[str(DIGEST)][1]
    assert done[str(unneeded)][0] == "taken out of service; no image needs it"
    assert not report.is_clean


async def test_blob_that_no_image_needs_is_not_asked_for(world: World) -> None:
    digest = await world.push_blob(b"nobody's")
    (world.root / await world.phys(digest)).unlink()
    place = Kept("place", b"nobody's")
    report = await scrub(world.catalog, world.store, mend=mender(world, place))
    assert [one.repaired_from for one in report.damaged] == [None]
    assert place.asked == []


async def test_push_that_comes_first_wins(world: World) -> None:
    await lose(world)

    class Slow(Kept):
        async def fetch(self, lost: Lost) -> AsyncGenerator[bytes, None]:
            await world.push_blob(LAYER)
            async for piece in super().fetch(lost):
                yield piece

    report = await scrub(world.catalog, world.store, mend=mender(world, Slow("slow", LAYER)))
    assert report.repaired == {}
    assert report.lost == 0
    assert await world.readable(DIGEST)
    await world.collect_and_sweep()
    assert len([name for name in world.files() if name.startswith(DIGEST.hex)]) == 1


async def test_an_older_copy_in_the_trash_is_enough(world: World) -> None:
    """The copy that lost a race of two pushes is as good as the one that won."""
    path = await lose(world, "kept")
    path.write_bytes(LAYER)
    copy = await world.store.put(DIGEST, LAYER)

    def throw(connection: Connection) -> None:
        from entrepot.server.repos.links import throw_away

        now = world.clock.steady()
        throw_away(connection, copy, reason="duplicate", digest=str(DIGEST), size=14, now=now, after=now)

    await world.catalog.write(throw)
    path.unlink()
    report = await scrub(world.catalog, world.store, mend=mender(world))
    assert report.repaired == {str(DIGEST): "the trash"}
    await world.collect_and_sweep()
    assert await world.readable(DIGEST)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_fsck_repair_takes_it_from_a_backup(world: World, tmp_path: Path, encrypted: bool) -> None:
    """Both ways: a lost blob comes from the backup, and is told with the tags that suffered."""
    await world.push_image(LAYER, tag="v1")
    key_file = tmp_path / "key" if encrypted else None
    if key_file is not None:
        make_key_file(key_file)
    folder = tmp_path / "backup"
    key = None if key_file is None else BackupKey.load(key_file)
    place = open_place(str(folder), create=True)
    archive = await BackupArchive.open(place, key, store_id="test-store")
    await back_up(world.catalog, world.store, archive)
    await archive.close()
    (world.root / await world.phys(DIGEST)).unlink()
    sources = open_sources([RepairSource(url=str(folder), key_file=key_file)])
    settings = FsckSettings(deep=True, repair=True, mend=mender(world, *sources))
    report = await fsck(world.catalog, world.store, settings)
    (finding,) = report.findings
    assert (finding.kind, finding.tags) == ("blob-missing", (f"{REPO}:v1",))
    assert finding.repaired == f"brought back from {folder}"
    assert await world.readable(DIGEST)
    json.dumps(report.to_json())


async def test_fsck_repair_brings_back_what_was_lost_before(world: World) -> None:
    await lose(world)
    await scrub(world.catalog, world.store)
    settings = FsckSettings(repair=True, mend=mender(world, Kept("place", LAYER)))
    (finding,) = (await fsck(world.catalog, world.store, settings)).findings
    assert (finding.kind, finding.repaired) == ("blob-out-of-service", "brought back from place")
    assert await world.readable(DIGEST)


def test_other_urls_are_refused() -> None:
    with pytest.raises(InvalidInput, match="neither"):
        open_sources([RepairSource(url="ftp://example.org")])
