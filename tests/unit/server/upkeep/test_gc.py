"""What garbage collection takes, what it leaves, and that nobody who pushes meanwhile loses anything."""

import asyncio
import os
import time
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, delete, select, update

from entrepot.oci.digest import Digest
from entrepot.server.db.clock import SECOND
from entrepot.server.db.copynote import CopyState
from entrepot.server.db.location import parse_catalog_url
from entrepot.server.db.postgresql import postgresql_engine
from entrepot.server.db.tables import blob, manifest, project, repo_blob
from entrepot.server.repos.errors import ManifestBlobUnknown
from entrepot.server.upkeep.collection import collect, totals
from entrepot.server.upkeep.collection.pace import Pace
from entrepot.server.upkeep.collection.report import Waiting
from entrepot.server.upkeep.collection.trash import sweep
from tests.unit.server.world import ACTOR, DAY, HOUR, REPO, World, image_manifest, on_both, pieces

pytestmark = pytest.mark.anyio


async def test_image_in_use_keeps_everything(world: World) -> None:
    await world.push_image(b"layer one", b"layer two")
    world.clock.advance(365 * DAY)
    report = await world.collect_and_sweep(untagged=True)
    assert report.removed == {}
    assert (await world.fsck()).to_json()["findings"] == []


@on_both
async def test_blob_without_manifest_goes_after_its_lease(world: World) -> None:
    """G2: the lease keeps it for the manifest; after that the push of the manifest says what is missing."""
    digest = await world.push_blob(b"{}")
    world.clock.advance(DAY - 1)
    assert (await world.collect_and_sweep()).removed == {}
    world.clock.advance(DAY)
    report = await world.collect_and_sweep()
    assert report.removed == {"link": 1, "blob": 1}
    assert report.bytes_freed == 2
    assert world.files() == []
    with pytest.raises(ManifestBlobUnknown):
        await world.push_manifest(image_manifest(()))
    await world.push_blob(b"{}")
    await world.push_manifest(image_manifest(()))
    assert await world.readable(digest)
    assert (await world.fsck()).is_clean


async def test_asking_pusher_renews_the_lease(world: World) -> None:
    """G2: HEAD by somebody who may push, then a long pause, then the manifest."""
    digest = await world.push_blob(b"{}")
    world.clock.advance(DAY - 10)
    found = await world.blobs.find(REPO, digest)
    assert found is not None
    await world.blobs.renew_lease(found)
    world.clock.advance(DAY - 10)
    await world.collect_and_sweep()
    await world.push_manifest(image_manifest(()))
    assert await world.readable(digest)


async def test_deleted_image_goes_after_the_undo_window(world: World) -> None:
    digest = await world.push_image(b"layer")
    await world.manifests.delete_manifest(REPO, digest, actor=ACTOR)
    world.clock.advance(6 * DAY)
    assert (await world.collect_and_sweep()).removed == {}
    world.clock.advance(2 * DAY)
    report = await world.collect_and_sweep()
    assert report.removed == {"manifest": 1, "link": 2, "blob": 2}
    assert world.files() == []
    assert await world.count_manifests() == await world.count_blobs() == await world.count_trash() == 0
    assert (await world.fsck()).to_json()["findings"] == []


@on_both
async def test_trash_stays_until_the_catalogs_copy_holds_it(world: World) -> None:
    """What the catalog may come back to need is there: the copy is behind, or has nothing yet."""
    digest = await world.push_image(b"layer")
    await world.manifests.delete_manifest(REPO, digest, actor=ACTOR)
    world.clock.advance(8 * DAY)
    await world.collect()
    world.clock.advance(2 * HOUR)
    states = [CopyState("file:///copy", until) for until in (time.time() - 3 * HOUR, 0.0, time.time())]
    files = [
        (await sweep(world.catalog, world.store, by="test", copied=lambda state=state: state)).files
        for state in states
    ]
    assert files == [0, 0, 2]


@on_both
async def test_deleted_index_goes_with_its_children(world: World) -> None:
    children = [await world.push_image(name, tag=None) for name in (b"amd64", b"arm64")]
    index = await world.push_index(*children)
    for digest in (index, *children):
        await world.manifests.delete_manifest(REPO, digest, actor=ACTOR)
    world.clock.advance(8 * DAY)
    report = await world.collect_and_sweep()
    assert report.removed["manifest"] == 3
    assert world.files() == []


async def test_deleted_child_of_a_living_index_stays(world: World) -> None:
    """G3: the index still refers to it."""
    child = await world.push_image(b"amd64", tag=None)
    await world.push_index(child)
    await world.manifests.delete_manifest(REPO, child, actor=ACTOR)
    world.clock.advance(30 * DAY)
    await world.collect_and_sweep()
    assert await world.readable(Digest.of(b"amd64"))
    assert await world.count_manifests() == 2


@on_both
async def test_untagged_manifests_go_only_when_asked(world: World) -> None:
    await world.push_image(b"old", tag="latest")
    await world.push_image(b"new", tag="latest")
    world.clock.advance(30 * DAY)
    assert (await world.collect_and_sweep()).removed == {}
    assert (await world.collect_and_sweep(untagged=True)).removed == {"untagged-manifest": 1}
    assert await world.readable(Digest.of(b"old"))  # can still be brought back
    world.clock.advance(8 * DAY)
    await world.collect_and_sweep(untagged=True)
    assert not await world.readable(Digest.of(b"old"))
    assert await world.readable(Digest.of(b"new"))
    assert (await world.fsck()).is_clean


@on_both
async def test_untagged_manifest_stays_while_something_needs_it(world: World) -> None:
    child = await world.push_image(b"child", tag=None)
    await world.push_index(child, tag="multi")
    image = await world.push_image(b"signed", tag="signed")
    await world.push_image(b"signature", tag=None, subject=image)
    tagged_referrer_of = await world.push_image(b"attested", tag=None)
    await world.push_image(b"attestation", tag="att", subject=tagged_referrer_of)
    world.clock.advance(30 * DAY)
    assert (await world.collect_and_sweep(untagged=True)).removed == {}


async def test_freshly_untagged_manifest_gets_its_time(world: World) -> None:
    await world.push_image(b"old")
    world.clock.advance(30 * DAY)
    await world.push_image(b"new")
    world.clock.advance(DAY)
    assert (await world.collect_and_sweep(untagged=True)).removed == {}


async def test_manifest_tagged_again_stays(world: World) -> None:
    """G3: the tag is asked for in the transaction that would remove."""
    old = await world.push_image(b"old")
    await world.push_image(b"new")
    world.clock.advance(30 * DAY)
    _, planned = await world.collect(dry_run=True, untagged=True)
    assert [removal.name for removal in planned] == [str(old)]
    await world.push_manifest(image_manifest((b"old",)), tag="again")
    assert (await world.collect_and_sweep(untagged=True)).removed == {}


@on_both
async def test_dry_run_tells_what_waits_and_until_when(world: World) -> None:
    """What an undo window, a lease or the trash keeps, from when, and how many bytes it is."""

    def seconds(waiting: Waiting | None) -> float:
        assert waiting is not None
        assert waiting.first_due is not None
        return round((waiting.first_due - world.clock.now()) / SECOND)

    await world.push_image(b"kept")
    report, _ = await world.collect(dry_run=True)
    assert report.waiting == Waiting({}, 0, None)  # its manifest needs it, lease or not
    gone = await world.push_image(b"other layer", repository="team/other")
    world.clock.advance(2 * DAY)
    await world.manifests.delete_manifest("team/other", gone, actor=ACTOR)
    world.clock.advance(DAY)
    await world.push_blob(b"early")

    report, _ = await world.collect(dry_run=True)
    assert report.removed == {}
    assert report.waiting is not None
    # "{}" is needed in the other repository: only its link goes.
    assert report.waiting.count == {"manifest": 1, "link": 3, "blob": 2}
    assert report.waiting.size == len(b"other layer") + len(b"early")
    assert seconds(report.waiting) == DAY  # the lease of what has no manifest yet
    assert report.trash == Waiting({}, 0, None)

    world.clock.advance(2 * DAY)
    report, _ = await world.collect(dry_run=True)
    assert report.removed == {"link": 1, "blob": 1}
    assert report.waiting is not None
    assert report.waiting.count == {"manifest": 1, "link": 2, "blob": 1}
    assert seconds(report.waiting) == 4 * DAY
    assert report.to_json()["waiting"]["first_due"].endswith("Z")

    world.clock.advance(5 * DAY)
    assert (await world.collect())[0].removed == {"manifest": 1, "link": 3, "blob": 2}
    report, _ = await world.collect(dry_run=True)
    assert report.waiting == Waiting({}, 0, None)
    assert report.trash is not None
    assert (report.trash.count, report.trash.size) == ({"file": 2}, len(b"other layer") + len(b"early"))
    assert seconds(report.trash) == HOUR


@on_both
async def test_dry_run_tells_why_and_changes_nothing(world: World) -> None:
    await world.push_blob(b"forgotten")
    gone = await world.push_image(b"deleted", repository="team/other")
    await world.manifests.delete_manifest("team/other", gone, actor=ACTOR)
    upload = await world.uploads.start(REPO, actor=ACTOR)
    await world.uploads.append(REPO, upload.id, pieces(b"half"))
    world.clock.advance(9 * DAY)
    before = world.files()
    report, told = await world.collect(dry_run=True)
    assert report.removed == {"manifest": 1, "link": 3, "blob": 3, "upload": 1}
    reasons = {(removal.kind, removal.name): removal.reason for removal in told}
    assert reasons["manifest", str(gone)] == "deleted 9 days ago, the undo window is over"
    assert (
        reasons["link", str(Digest.of(b"forgotten"))]
        == "no manifest of this repository needs it; its lease ended 8 days ago"
    )
    assert reasons["blob", str(Digest.of(b"deleted"))] == "no repository links it; its lease ended 8 days ago"
    assert reasons["upload", upload.id] == "nobody has written to it; it expired 8 days ago"
    assert world.files() == before
    real, done = await world.collect()
    assert real.removed == report.removed
    assert {(one.kind, one.name) for one in done} == set(reasons)


async def test_shared_blob_stays_for_the_other_repository(world: World) -> None:
    await world.push_image(b"shared")
    other = await world.push_image(b"shared", repository="team/other")
    await world.manifests.delete_manifest("team/other", other, actor=ACTOR)
    world.clock.advance(8 * DAY)
    report = await world.collect_and_sweep()
    assert report.removed == {"manifest": 1, "link": 2}
    assert await world.readable(Digest.of(b"shared"))
    assert not await world.readable(Digest.of(b"shared"), "team/other")


@on_both
async def test_stale_upload_frees_its_file(world: World) -> None:
    upload = await world.uploads.start(REPO, actor=ACTOR)
    await world.uploads.append(REPO, upload.id, pieces(b"half"))
    assert len(world.files()) == 1
    world.clock.advance(DAY + 1)
    assert (await world.collect_and_sweep()).removed == {"upload": 1}
    assert world.files() == []


@on_both
async def test_push_between_commit_and_unlink_survives(world: World) -> None:
    """G4: the row is gone, the file is not yet; the same bytes are pushed again under a new name."""
    digest = await world.push_blob(b"{}")
    old = await world.phys(digest)
    world.clock.advance(2 * DAY)
    await world.collect()
    assert await world.push_blob(b"{}") == digest
    assert await world.phys(digest) != old
    world.clock.advance(HOUR + 1)
    assert (await sweep(world.catalog, world.store, by="test")).files == 1
    assert await world.readable(digest)
    assert len(world.files()) == 1


@on_both
async def test_swept_twice_is_swept_once(world: World) -> None:
    """C3, G8: a sweeper that died after unlinking, and two sweepers at once."""
    digest = await world.push_blob(b"{}")
    phys = await world.phys(digest)
    world.clock.advance(2 * DAY)
    await world.collect()
    await world.store.delete(phys)
    world.clock.advance(HOUR + 1)
    reports = await asyncio.gather(*(sweep(world.catalog, world.store, by=name) for name in "ab"))
    assert sum(report.files for report in reports) == 1
    assert await world.count_trash() == 0


async def test_unreadable_manifest_keeps_its_blobs(world: World) -> None:
    """G6: collection never takes "can't be read" for "refers to nothing", and goes on with the rest."""
    await world.push_image(b"kept")
    await world.push_blob(b"goes")

    def damage(connection: Connection) -> None:
        connection.execute(update(manifest).values(body=b'{"layers": [[[[', media_type="strange/type"))

    await world.catalog.write(damage)
    world.clock.advance(30 * DAY)
    report = await world.collect_and_sweep(untagged=True)
    assert report.removed == {"link": 1, "blob": 1}
    assert await world.readable(Digest.of(b"kept"))
    assert [finding.kind for finding in (await world.fsck()).findings] == ["manifest-damaged"]


@pytest.mark.parametrize("days", [1, -1, 400], ids=["forward", "back", "far"])
async def test_clock_that_jumps_deletes_nothing_early(world: World, days: int) -> None:
    """G7: leases and windows do not follow the wall clock."""
    await world.push_blob(b"leased")
    gone = await world.push_image(b"undo")
    await world.manifests.delete_manifest(REPO, gone, actor=ACTOR)
    world.clock.jump(days * DAY)
    report = await world.collect_and_sweep()
    assert report.removed == {}
    world.clock.advance(8 * DAY)
    await world.collect_and_sweep()
    assert world.files() == []


async def test_usage_follows_what_is_removed(world: World) -> None:
    digest = await world.push_image(b"layer", b"another")
    await world.push_blob(b"forgotten")
    await world.manifests.delete_manifest(REPO, digest, actor=ACTOR)
    world.clock.advance(8 * DAY)
    await world.collect_and_sweep()
    assert await world.scalar(select(project.c.usage_bytes)) == 0
    assert (await world.fsck()).is_clean


@on_both
async def test_pushes_during_collection_lose_nothing(world: World) -> None:
    """G1 in small.

    Pushers, deleters and collectors together; leases so short that only the rules protect.
    """
    random_bytes = [os.urandom(64) for _ in range(6)]
    acknowledged: set[Digest] = set()

    async def pusher(number: int) -> None:
        for turn in range(6):
            layers = (random_bytes[(number + turn) % 6], random_bytes[(number * turn) % 6])
            tag = f"t{number}"
            acknowledged.update(Digest.of(layer) for layer in layers)
            while True:
                try:
                    await world.push_image(*layers, tag=tag)
                    break
                except ManifestBlobUnknown:
                    continue  # its lease ended before the manifest came: the client pushes again

    async def collector() -> None:
        for _ in range(12):
            await world.catalog.write(_expire_leases)
            await world.collect()
            await sweep(world.catalog, world.store, by="test")

    await asyncio.gather(*(pusher(number) for number in range(4)), collector(), collector())
    for number in range(4):
        found = await world.manifests.get(REPO, f"t{number}")
        assert found is not None
    report = await world.fsck()
    assert report.to_json()["findings"] == []


def _expire_leases(connection: Connection) -> None:
    connection.execute(update(blob).values(lease_until=0))


@on_both
async def test_many_windows_and_transactions_find_what_one_would(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is passed over between two windows, and nothing is told of twice."""
    monkeypatch.setattr(collect, "PAGE", 3)
    monkeypatch.setattr(collect, "Pace", lambda **_: Pace(first=2, least=2, most=2, target_s=1, idle=0))
    kept = await world.push_image(b"kept", b"also kept")
    gone = [await world.push_image(b"shared", bytes([n]), repository=f"team/r{n}") for n in range(4)]
    for number, digest in enumerate(gone):
        await world.manifests.delete_manifest(f"team/r{number}", digest, actor=ACTOR)
    for number in range(5):
        await world.push_blob(b"forgotten %d" % number)
        await world.push_blob(b"forgotten %d" % number, "team/r1")
    world.clock.advance(8 * DAY)
    planned, told = await world.collect(dry_run=True)
    assert planned.removed == {"manifest": 4, "link": 12 + 10, "blob": 1 + 4 + 5}
    report, done = await world.collect()
    assert report.removed == planned.removed
    assert report.in_use == 0
    assert sorted(map(repr, done)) == sorted(map(repr, told))
    assert await world.readable(Digest.of(b"also kept"))
    assert await world.count_blobs() == 3
    assert (await world.collect())[0].removed == {}
    assert await world.manifests.get(REPO, kept) is not None
    assert (await world.fsck()).is_clean


@on_both
async def test_report_counts_by_reason_and_names_a_few(world: World) -> None:
    for number in range(8):
        await world.push_blob(b"forgotten %d" % number)
    world.clock.advance(2 * DAY)
    report, _ = await world.collect()
    said = report.to_json()
    assert said["reasons"] == {
        "unlinked": {"count": 8, "bytes": 8 * 11},
        "unneeded": {"count": 8, "bytes": 8 * 11},
    }
    assert [one["kind"] for one in said["sample"]] == ["link"] * 5 + ["blob"] * 5
    assert said["sample"][0]["reason"].startswith("no manifest of this repository needs it")


@on_both
async def test_dead_blobs_take_a_few_transactions_not_one_each(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await world.push_blob(b"forgotten %d" % number)
    world.clock.advance(2 * DAY)
    writes = 0
    write = world.catalog.write

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal writes
        writes += 1
        return await write(*args, **kwargs)

    monkeypatch.setattr(world.catalog, "write", counted)
    report, _ = await world.collect()
    assert report.removed == {"link": 20, "blob": 20}
    assert writes <= 5  # tags, links, blobs, projects


@pytest.mark.parametrize("world", ["postgresql"], indirect=True)
async def test_what_a_push_holds_is_left_to_the_next_run(world: World, postgresql_url: str) -> None:
    """G1: collection never waits for a push that has a blob or a link locked, nor a push for collection."""
    for name in (b"blob held", b"link held", b"free"):
        await world.push_blob(name)
    world.clock.advance(2 * DAY)
    held_blob, held_link = str(Digest.of(b"blob held")), str(Digest.of(b"link held"))
    connection = await asyncpg.connect(dsn=postgresql_url)
    try:
        async with connection.transaction():
            await connection.execute("select from blob where digest = $1 for no key update", held_blob)
            await connection.execute("select from repo_blob where digest = $1 for key share", held_link)
            async with asyncio.timeout(10):
                report, _ = await world.collect()
            assert report.removed == {"link": 1, "blob": 1}
            assert report.in_use == 2
    finally:
        await connection.close()
    assert (await world.collect())[0].removed == {"link": 2, "blob": 2}
    assert (await world.fsck()).is_clean


async def test_sweep_leaves_a_store_alone_that_was_restored_to_another_catalog(world: World) -> None:
    """B4: a server that still runs on the old catalog must not unlink what the restored one has live."""
    digest = await world.push_image(b"layer")
    await world.manifests.delete_manifest(REPO, digest, actor=ACTOR)
    world.clock.advance(8 * DAY)
    await world.collect()
    world.clock.advance(2 * HOUR)
    there = world.files()
    await world.store.write_identity("test-store", 2)  # as `restore` does, which keeps the names
    assert (await sweep(world.catalog, world.store, by="test")).files == 0
    assert world.files() == there
    assert await world.count_trash() == 2
    await world.store.write_identity("test-store", 1)
    world.clock.advance(HOUR)
    assert (await sweep(world.catalog, world.store, by="test")).files == 2


@pytest.mark.parametrize("world", ["postgresql"], indirect=True)
@pytest.mark.parametrize("how", ["tag", "index"])
async def test_untagged_manifest_that_is_asked_for_at_the_same_time_stays(
    world: World, postgresql_url: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """G3: a push that holds the manifest when collection looks is acknowledged, and stays whole."""
    image = await world.push_image(b"old", tag=None)
    world.clock.advance(30 * DAY)
    engine = postgresql_engine(parse_catalog_url(postgresql_url))
    pushing = await engine.connect()

    async def push(fn: Any, *args: Any, **_: Any) -> Any:
        return await pushing.run_sync(fn, *args)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(world.catalog, "write", push)
            if how == "tag":
                await world.push_manifest(image_manifest((b"old",)), tag="v1")
            else:
                await world.push_index(image, tag="multi")
        collecting = asyncio.create_task(world.collect(untagged=True))
        await asyncio.wait({collecting}, timeout=1)
        await pushing.commit()
        report, _ = await collecting
    finally:
        await pushing.close()
        await engine.dispose()
    assert report.removed == {}
    assert await world.manifests.get(REPO, "v1" if how == "tag" else "multi") is not None
    assert await world.manifests.get(REPO, image) is not None


@on_both
async def test_blob_that_was_linked_since_it_was_found_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G1: the transaction that removes asks again."""
    digest = await world.push_blob(b"{}")
    world.clock.advance(2 * DAY)
    write = world.catalog.write

    async def after_a_push(fn: Any, *args: Any, **kwargs: Any) -> Any:
        if fn is collect._delete_blobs:
            await world.push_blob(b"{}", "team/other")
        return await write(fn, *args, **kwargs)

    await write(_unlink_all)
    monkeypatch.setattr(world.catalog, "write", after_a_push)
    report, _ = await world.collect()
    assert (report.removed, report.in_use) == ({}, 1)
    assert await world.readable(digest, "team/other")
    assert await world.count_trash() == 0


def _unlink_all(connection: Connection) -> None:
    connection.execute(delete(repo_blob))


@on_both
async def test_what_is_stored_is_counted_by_collection_once_it_is_very_much(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page must not read a table of a million rows."""
    await world.push_image(b"layer")
    assert await world.catalog.read(totals.stored) == totals.Stored(2, 7)
    monkeypatch.setattr(totals, "COUNTED_AT_ONCE", 1)
    assert await world.catalog.read(totals.stored) == totals.Stored(2, 7)  # not collected yet
    await world.catalog.write(totals.note_stored, await world.catalog.read(totals.count_stored), 42)
    await world.push_blob(b"more")
    assert await world.catalog.read(totals.stored) == totals.Stored(2, 7, as_of=42)
    assert await world.catalog.read(totals.out_of_service) == []
    await world.catalog.write(_take_out, b"more")
    assert await world.catalog.read(totals.out_of_service) == [("missing", 1)]


def _take_out(connection: Connection, data: bytes) -> None:
    connection.execute(update(blob).where(blob.c.digest == str(Digest.of(data))).values(state="missing"))
