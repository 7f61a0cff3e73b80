"""What fsck, scrub and the reconcile pass find, and how what they find is mended."""

import os
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from entrepot.oci.digest import Digest
from entrepot.server.db.settings import set_identity
from entrepot.server.db.tables import event, manifest_blob, project
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.upkeep.collection.trash import sweep
from entrepot.server.upkeep.integrity import scrub as scrubbing
from entrepot.server.upkeep.integrity.fsck import FsckSettings, fsck
from entrepot.server.upkeep.integrity.reconcile import reconcile
from entrepot.server.upkeep.integrity.scrub import scrub
from tests.unit.server.world import DAY, HOUR, REPO, World, on_both

pytestmark = pytest.mark.anyio


async def kinds(world: World, *, repair: bool = False, deep: bool = True) -> list[str]:
    return sorted(finding.kind for finding in (await world.fsck(repair=repair, deep=deep)).findings)


async def damage(world: World, data: bytes, how: str) -> Digest:
    digest = Digest.of(data)
    path = world.root / await world.phys(digest)
    if how == "removed":
        path.unlink()
    elif how == "bad sector":
        world.disk.bad_sectors[path] = 0
    elif how == "bad inode":
        world.disk.bad_inodes.add(path)
    else:
        path.write_bytes({"torn": data[: len(data) // 2], "empty": b"", "flipped": b"X" + data[1:]}[how])
    return digest


@pytest.mark.parametrize("how", ["removed", "torn", "empty", "flipped", "bad sector", "bad inode"])
async def test_scrub_takes_a_damaged_blob_out_until_it_is_pushed_again(world: World, how: str) -> None:
    """C7: HEAD says 404 after the scrub, so the next push brings the bytes again."""
    await world.push_image(b"precious layer", tag="v1")
    digest = await damage(world, b"precious layer", how)
    report = await scrub(world.catalog, world.store)
    assert [(one.digest, one.tags) for one in report.damaged] == [(str(digest), (f"{REPO}:v1",))]
    assert await world.blobs.find(REPO, digest) is None
    assert await kinds(world) == ["blob-out-of-service"]
    await world.push_blob(b"precious layer")
    assert await world.readable(digest)
    assert await kinds(world) == []


@pytest.mark.parametrize("how", ["removed", "torn", "empty"])
async def test_push_of_a_blob_whose_file_is_gone_or_short_mends_it(world: World, how: str) -> None:
    """C7: a blob that is there is not trusted blindly."""
    await world.push_image(b"precious layer")
    digest = await damage(world, b"precious layer", how)
    await world.push_blob(b"precious layer")
    assert await world.readable(digest)
    assert await kinds(world) == []


async def test_bad_sectors_end_no_scrub(world: World) -> None:
    """C7: however many blobs can't be read, one after the other, the run goes on to the last one."""
    digests = sorted([await world.push_blob(bytes([number]) * 100) for number in range(8)], key=str)
    bad = digests[1:6]
    for digest in bad:
        world.disk.bad_sectors[world.root / await world.phys(digest)] = 50
    found = (await world.fsck()).findings
    assert sorted(one.subject for one in found) == [str(digest) for digest in bad]
    assert all("it can't be read: Input/output error" in one.detail for one in found)
    report = await scrub(world.catalog, world.store)
    assert (report.blobs, report.complete) == (8, True)
    assert [(one.digest, one.state) for one in report.damaged] == [
        (str(digest), "quarantined") for digest in bad
    ]


class Silent:
    """A store one of whose objects never comes; of all of them, when `phys` is None."""

    def __init__(self, store: Any, phys: str | None) -> None:
        self._store = store
        self._phys = phys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def open(self, phys: str, start: int = 0, end: int | None = None) -> Any:
        if self._phys in {phys, None}:
            raise StorageFailed(f"reading {phys} failed: operation timed out")
        return await self._store.open(phys, start, end)


async def test_an_object_that_never_comes_ends_no_scrub(world: World) -> None:
    """C7: it is told and stays in service; the others have their turn."""
    digests = sorted([await world.push_blob(bytes([number]) * 100) for number in range(3)], key=str)
    store: Any = Silent(world.store, await world.phys(digests[0]))
    report = await scrub(world.catalog, store)
    assert (report.blobs, report.damaged, report.complete) == (3, [], True)
    assert list(report.unread) == [str(digests[0])]
    assert "timed out" in report.unread[str(digests[0])]
    assert await world.readable(digests[0])


async def test_a_store_that_gives_nothing_ends_a_scrub(world: World) -> None:
    for number in range(scrubbing.MOST_UNREAD + 1):
        await world.push_blob(bytes([number]) * 100)
    store: Any = Silent(world.store, None)
    with pytest.raises(StorageFailed, match="timed out"):
        await scrub(world.catalog, store)


async def test_a_folder_that_can_not_be_listed_ends_no_fsck(world: World) -> None:
    """C7: what comes after it is looked at, and the folder is told."""
    digest = await world.push_blob(b"precious layer")
    world.disk.bad_folders.add((world.root / await world.phys(digest)).parent)
    lost = await world.push_blob(b"another")
    (world.root / await world.phys(lost)).unlink()
    report = await world.fsck()
    assert [(one.kind, one.subject) for one in report.findings] == [
        ("store-unlisted", "store"),
        ("blob-missing", str(lost)),
    ]
    assert "Input/output error" in report.findings[0].detail
    assert report.blobs == 2


async def test_a_disk_that_has_gone_takes_no_blob_out_of_service(world: World) -> None:
    """B4: it can't be told from a bad sector by reading alone."""
    await world.push_image(b"layer", b"another")
    world.disk.gone = True
    for deep in (True, False):
        assert set(await kinds(world, deep=deep)) <= {"blob-damaged"}, "fsck tells of it and does nothing"
    with pytest.raises(StorageFailed, match="takes none either"):
        await scrub(world.catalog, world.store)
    with pytest.raises(StorageFailed, match="takes none either"):
        await world.fsck(repair=True)
    world.disk.gone = False
    assert await kinds(world) == []
    assert len(world.files()) == 3, "nothing is left of asking the disk"


class Elsewhere:
    """A store whose endpoint leads to another one from the n-th call of one method on."""

    def __init__(self, store: Any, method: str, number: int) -> None:
        self._store = store
        self._method = method
        self._left = number

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            self._left -= 1
        return getattr(self._store, name)

    async def size(self, phys: str) -> int | None:
        size = self.__getattr__("size")
        return await size(phys) if self._left > 0 else None

    async def read_identity(self) -> Any:
        return await self._store.read_identity() if self._left > 0 else None


@pytest.mark.parametrize("deep", [True, False], ids=["deep", "shallow"])
async def test_fsck_asks_for_the_mark_whenever_a_blob_is_missing(world: World, deep: bool) -> None:
    """B4: a store that answers 404 to everything from the middle of a run on."""
    for number in range(40):
        await world.push_blob(bytes([number]) * 100)
    store: Any = Elsewhere(world.store, "size", 4)
    with pytest.raises(StorageFailed, match="does not carry this registry's mark"):
        await fsck(world.catalog, store, FsckSettings(deep=deep, repair=True))
    assert await kinds(world) == []


async def test_fsck_throws_nothing_away_that_another_store_has_listed(world: World) -> None:
    """B4: the endpoint leads elsewhere by the time that objects are listed."""
    await world.push_image(b"layer")
    await stray(world, days_old=8)
    store: Any = Elsewhere(world.store, "list", 1)
    with pytest.raises(StorageFailed, match="does not carry this registry's mark"):
        await fsck(world.catalog, store, FsckSettings(repair=True))
    assert await world.count_trash() == 0


async def test_scrub_without_a_rate_reads_as_quickly_as_it_can(world: World) -> None:
    await world.push_blob(b"layer")
    assert (await scrub(world.catalog, world.store, bytes_per_s=0)).blobs == 1


async def test_damage_is_an_event(world: World) -> None:
    await world.push_image(b"layer")
    await damage(world, b"layer", "flipped")
    await scrub(world.catalog, world.store)

    def read(connection: Connection) -> list[str]:
        return list(connection.execute(select(event.c.kind).where(event.c.kind == "blob-damaged")).scalars())

    assert await world.catalog.read(read) == ["blob-damaged"]


@on_both
async def test_scrub_goes_on_where_its_budget_ended(world: World) -> None:
    for number in range(10):
        await world.push_blob(bytes([number]) * 100)
    first = await scrub(world.catalog, world.store, budget_bytes=350)
    assert (first.blobs, first.complete) == (4, False)
    world.clock.advance(1)
    rest = await scrub(world.catalog, world.store, budget_bytes=10_000)
    assert (rest.blobs, rest.complete) == (6, True)


@on_both
async def test_scrub_begins_a_new_round_when_it_is_time(world: World) -> None:
    """What is pushed behind the round waits for the next; whoever asks for all gets all at once."""
    for number in range(3):
        await world.push_blob(bytes([number]) * 100)

    async def blobs(**how: float) -> int:
        world.clock.advance(HOUR)
        report = await scrub(world.catalog, world.store, budget_bytes=10_000, again_after_s=DAY, **how)
        assert report.complete
        return report.blobs

    assert await blobs() == 3
    await world.push_blob(b"late")
    assert await blobs() == 0
    world.clock.advance(DAY)
    assert await blobs() == 4
    world.clock.advance(HOUR)
    assert (await scrub(world.catalog, world.store)).blobs == 4
    assert await blobs() == 0  # that was a round


class KilledHere(Exception):
    """The end of a process, in the middle of what it does."""


@on_both
async def test_scrub_that_ends_in_the_middle_goes_on_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        await world.push_blob(bytes([number]) * 100)
    monkeypatch.setattr(scrubbing, "NOTED_TOGETHER", 2)
    monkeypatch.setattr(scrubbing, "PAGE", 4)
    real, seen = scrubbing.find_fault, list[str]()

    async def find_fault(store: Any, digest: str, *rest: Any, **more: Any) -> Any:
        if len(seen) == 3:
            raise KilledHere
        seen.append(digest)
        return await real(store, digest, *rest, **more)

    monkeypatch.setattr(scrubbing, "find_fault", find_fault)
    with pytest.raises(KilledHere):
        await scrub(world.catalog, world.store, budget_bytes=10_000)
    monkeypatch.setattr(scrubbing, "find_fault", real)
    rest = await scrub(world.catalog, world.store, budget_bytes=10_000)
    assert (rest.blobs, rest.complete) == (4, True)  # one was read and not yet noted


@on_both
async def test_fsck_of_a_healthy_registry_finds_nothing(world: World) -> None:
    await world.push_image(b"one", b"two")
    report = await world.fsck()
    assert report.to_json() == {
        "ok": True,
        "checked": {"blobs": 3, "manifests": 1, "objects": 3, "uploads": 0},
        "pending": {"objects": 0, "bytes": 0},
        "findings": [],
    }


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("removed", "blob-missing"),
        ("torn", "blob-damaged"),
        ("flipped", "blob-damaged"),
        ("bad sector", "blob-damaged"),
        ("bad inode", "blob-damaged"),
    ],
)
async def test_fsck_finds_and_repairs_lost_bytes(world: World, how: str, kind: str) -> None:
    await world.push_image(b"layer", tag="v1")
    digest = await damage(world, b"layer", how)
    (finding,) = (await world.fsck()).findings
    assert (finding.kind, finding.tags, finding.repaired) == (kind, (f"{REPO}:v1",), None)
    assert not (await world.fsck(repair=True)).is_clean, "it can't be pulled still"
    assert await world.blobs.find(REPO, digest) is None


async def test_fsck_reads_every_byte_only_when_asked(world: World) -> None:
    await world.push_image(b"layer")
    await damage(world, b"layer", "flipped")
    assert await kinds(world, deep=False) == []
    assert await kinds(world, deep=True) == ["blob-damaged"]


async def test_fsck_finds_references_that_rows_do_not_hold(world: World) -> None:
    await world.push_image(b"layer")

    def forget(connection: Connection) -> None:
        connection.execute(manifest_blob.delete())

    await world.catalog.write(forget)
    assert await kinds(world) == ["manifest-references"]


@on_both
async def test_fsck_counts_usage_anew(world: World) -> None:
    await world.push_image(b"layer")

    def lie(connection: Connection) -> None:
        connection.execute(update(project).values(usage_bytes=7))

    await world.catalog.write(lie)
    assert await kinds(world) == ["usage"]
    await world.fsck(repair=True)
    assert await kinds(world) == []


async def stray(world: World, *, days_old: float) -> str:
    """A file that no row knows of, as a crash before the row's commit leaves it."""
    phys = await world.store.put(Digest.of(b"stray"), b"stray")
    written = world.clock.steady() / 1e6 - days_old * DAY
    os.utime(world.root / phys, (written, written))
    return phys


@on_both
async def test_young_orphan_is_pending_and_an_old_one_a_finding(world: World) -> None:
    await stray(world, days_old=1)
    old = await stray(world, days_old=8)
    report = await world.fsck()
    assert report.pending == 1
    assert [(finding.kind, finding.subject) for finding in report.findings] == [("orphan", old)]
    assert (await world.fsck(repair=True)).is_clean
    world.clock.advance(HOUR + 1)
    await sweep(world.catalog, world.store, by="test")
    assert await world.store.size(old) is None


async def run_reconcile(world: World) -> tuple[int, int, str | None]:
    report = await reconcile(world.catalog, world.store, undo_window_s=7 * DAY, trash_delay_s=0)
    return report.orphans, report.trashed, report.kept_because


async def test_reconcile_removes_few_old_orphans(world: World) -> None:
    for number in range(3):
        await world.push_blob(f"blob {number}".encode() * 3)
    await stray(world, days_old=1)
    assert await run_reconcile(world) == (0, 0, None)
    old = await stray(world, days_old=8)
    orphans, trashed, because = await run_reconcile(world)
    assert (orphans, trashed) == (1, 0)  # one of five is far more than a hundredth
    assert because is not None
    for number in range(200):
        await world.store.put(Digest.of(b""), b"")
        await world.push_blob(f"more {number}".encode())
    assert await run_reconcile(world) == (1, 1, None)
    assert await world.count_trash() >= 1
    await sweep(world.catalog, world.store, by="test")
    assert await world.store.size(old) is None
    assert await kinds(world) == []


async def test_reconcile_under_the_wrong_catalog_keeps_everything(world: World) -> None:
    """B4: a catalog that is not this store's must not empty it."""
    old = [await stray(world, days_old=30) for _ in range(2)]
    await world.store.write_identity("another-store", 1)
    orphans, trashed, because = await run_reconcile(world)
    assert (orphans, trashed) == (2, 0)
    assert because == "the store does not carry this catalog's id and epoch"
    assert "identity" in await kinds(world, repair=True)
    for phys in old:
        assert await world.store.size(phys) == 5


async def test_catalog_that_was_restored_from_before_its_store_keeps_what_it_does_not_know(
    world: World,
) -> None:
    """B4, the catalog behind the store: blobs pushed after the backup are reported and kept for an undo
    window from the restore on, however old they are; then they may go."""
    for number in range(300):
        await world.push_blob(f"known {number}".encode())
    newer = [await stray(world, days_old=30) for _ in range(2)]
    await world.catalog.write(set_identity, "test-store", 2)
    await world.store.write_identity("test-store", 2)
    orphans, trashed, because = await run_reconcile(world)
    assert (orphans, trashed) == (2, 0)
    assert because is not None
    assert "restored" in because
    assert {finding.subject for finding in (await world.fsck()).findings} == {*newer}
    world.clock.advance(6 * DAY)
    assert (await run_reconcile(world))[1] == 0
    world.clock.advance(2 * DAY)
    assert (await run_reconcile(world))[1:] == (2, None)


async def test_store_that_was_put_back_from_before_its_catalog_is_told_blob_by_blob(world: World) -> None:
    """B4, the store behind the catalog: every blob it lacks is found with the tags that suffer, by fsck and
    by the scrub; nothing else is touched, and pushing the image again mends it."""
    await world.push_image(b"old layer", tag="old")
    await world.push_image(b"new layer", tag="new")
    lacking = Digest.of(b"new layer")
    (world.root / await world.phys(lacking)).unlink()
    (finding,) = (await world.fsck()).findings
    assert (finding.kind, finding.subject, finding.tags) == ("blob-missing", str(lacking), (f"{REPO}:new",))
    report = await scrub(world.catalog, world.store)
    assert [(one.state, one.tags) for one in report.damaged] == [("missing", (f"{REPO}:new",))]
    assert await world.readable(Digest.of(b"old layer"))
    await world.collect_and_sweep()
    await world.push_image(b"new layer", tag="new")
    assert await world.readable(lacking)
    assert (await world.fsck()).findings == []
