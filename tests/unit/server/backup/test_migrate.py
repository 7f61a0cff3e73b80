"""A registry moves to another catalog and store, and is the same there."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, insert, select

from entrepot.oci.digest import Digest
from entrepot.server.backup import migrate as module
from entrepot.server.backup.errors import TargetInUse
from entrepot.server.backup.hold import changes_held
from entrepot.server.backup.migrate import Migrated, Side, migrate
from entrepot.server.db import open_catalog
from entrepot.server.db.settings import UNFINISHED_MOVE, clear_setting, get_identity
from entrepot.server.db.tables import manifest, metadata, project, upload
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.upkeep.integrity.fsck import FsckSettings, fsck
from tests.unit.server.conftest import Places
from tests.unit.server.world import ACTOR, World, pieces

pytestmark = pytest.mark.anyio


async def stopped() -> bool:
    return True


def side_of(world: World) -> Side:
    return Side(f"sqlite:///{world.root.parent / 'catalog.db'}", world.catalog, world.store)


def rows(connection: Connection, skip: frozenset[str] = frozenset()) -> dict[str, list[Any]]:
    """Every row of every table that a move keeps as it is."""
    left_out = {"node", "lease", "setting", "upload", "trash", "blob", "rights_version"} | skip
    return {
        table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
        for table in metadata.sorted_tables
        if table.name not in left_out
    }


async def fill(world: World) -> None:
    for number in range(3):
        await world.push_image(f"layer {number}".encode(), b"shared", tag=f"v{number}")
    children = [await world.push_image(b"child", tag=None)]
    await world.push_index(*children, tag="index")
    await world.push_image(b"other", tag="v1", repository="other/app")
    begun = await world.uploads.start("team/app", actor=ACTOR)
    await world.uploads.append("team/app", begun.id, pieces(b"half"))


async def push_with_a_bad_sector(world: World) -> Digest:
    """An image with a blob that can be read in part."""
    layer = bytes(200_000)
    await world.push_image(layer, b"good", tag="v1")
    digest = Digest.of(layer)
    world.disk.bad_sectors[world.root / await world.phys(digest)] = 150_000
    return digest


async def move(old: Side, new: Side, folder: Path, *, same_store: bool = False) -> Migrated:
    return await migrate(
        old, new, folder / "notes.db", same_store=same_store, servers_stopped=stopped, deep=True
    )


async def check_same(old: Side, new: Side) -> None:
    assert await new.catalog.read(rows) == await old.catalog.read(rows)
    assert (await fsck(new.catalog, new.store, FsckSettings(deep=True))).findings == []


async def test_there_and_back_again(world: World, places: Places, tmp_path: Path) -> None:
    """SQLite and a folder → PostgreSQL and a bucket → SQLite and a folder."""
    await fill(world)
    first, cluster, last = (
        side_of(world),
        places.side("postgresql", "bucket", "cluster"),
        places.side("sqlite", "folder", "last"),
    )
    report = await move(first, cluster, tmp_path / "notes1")
    assert report.damaged == ()
    assert report.blobs == await world.count_blobs()
    await check_same(first, cluster)
    await move(cluster, last, tmp_path / "notes2")
    await check_same(first, last)
    identity = await last.catalog.read(get_identity)
    assert identity is not None
    assert identity.epoch == 3
    marked = await cluster.store.read_identity()
    assert marked is not None
    assert marked.epoch == 3, "the place left behind must not be served"


@pytest.mark.parametrize("one_directory", [True, False], ids=["one-directory", "two"])
async def test_blobs_that_stay_where_they_are_are_no_finding(
    world: World, places: Places, tmp_path: Path, one_directory: bool
) -> None:
    """Until the new servers start, or the move ends, the store carries the old catalog's epoch."""
    await fill(world)
    said = list[str]()
    url = places.url("postgresql", "new")
    new = Side(url, open_catalog(url), world.store)
    try:
        report = await migrate(
            side_of(world),
            new,
            tmp_path / "notes.db",
            same_store=True,
            one_directory=one_directory,
            servers_stopped=stopped,
            say=said.append,
        )
        assert report.check is not None
        assert report.check.findings == []
        await check_same(side_of(world), new)
    finally:
        await new.catalog.close()
    order = "stop the old server, then start the new one" if one_directory else "then stop the old ones"
    assert order in said[-1]


async def test_ids_are_never_used_twice(world: World, places: Places, tmp_path: Path) -> None:
    """The highest id was given to a row that is gone; the new catalog must not give it again."""
    await world.push_image(b"x")

    def make_and_drop(connection: Connection) -> int:
        made = connection.execute(insert(project).values(name="gone", created_at=1)).inserted_primary_key
        assert made is not None
        connection.execute(project.delete().where(project.c.id == made[0]))
        return int(made[0])

    def make(connection: Connection) -> int:
        made = connection.execute(insert(project).values(name="new", created_at=1)).inserted_primary_key
        assert made is not None
        return int(made[0])

    gone = await world.catalog.write(make_and_drop)
    cluster, last = places.side("postgresql", "folder", "a"), places.side("sqlite", "folder", "b")
    await move(side_of(world), cluster, tmp_path / "n1")
    await move(cluster, last, tmp_path / "n2")
    assert await cluster.catalog.write(make) > gone
    assert await last.catalog.write(make) > gone


async def test_interrupted_move_goes_on_where_it_was(
    world: World, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C4: the second run copies only what the first did not."""
    await fill(world)
    new, real, calls = places.side("sqlite", "folder", "new"), module.store_verified, list[Digest]()

    async def failing(store: Any, digest: Digest, size: int, pieces: Any) -> str:
        if len(calls) == 3:
            raise StorageFailed("the bucket is not there")
        calls.append(digest)
        return await real(store, digest, size, pieces)

    monkeypatch.setattr(module, "store_verified", failing)
    with pytest.raises(StorageFailed):
        await move(side_of(world), new, tmp_path)
    monkeypatch.setattr(module, "store_verified", real)
    report = await move(side_of(world), new, tmp_path)
    assert report.blobs == await world.count_blobs() - len(calls)
    await check_same(side_of(world), new)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_a_bad_sector_ends_no_move(world: World, places: Places, tmp_path: Path, kind: str) -> None:
    """C7: what can't be read is named, and all else is there."""
    bad = await push_with_a_bad_sector(world)
    new = places.side("sqlite", kind, "new")
    report = await move(side_of(world), new, tmp_path)
    assert (report.damaged, report.blobs) == ((str(bad),), 2)
    assert report.check is not None
    assert [one.kind for one in report.check.findings] == ["blob-out-of-service"]


async def test_a_disk_that_has_gone_ends_a_move(world: World, places: Places, tmp_path: Path) -> None:
    """B4: it comes back, and then nothing was lost."""
    await fill(world)
    new = places.side("sqlite", "folder", "new")
    world.disk.gone = True
    with pytest.raises(StorageFailed, match="takes none either"):
        await move(side_of(world), new, tmp_path)
    world.disk.gone = False
    assert (await move(side_of(world), new, tmp_path)).damaged == ()
    await check_same(side_of(world), new)


async def test_a_run_that_ends_while_it_waits_is_run_again(
    world: World, places: Places, tmp_path: Path
) -> None:
    """C4: the old registry went on meanwhile; the second run takes what was pushed since, too."""
    await fill(world)
    new = places.side("sqlite", "folder", "new")

    async def dies() -> bool:
        raise KeyError

    with pytest.raises(KeyError):
        await migrate(side_of(world), new, tmp_path / "notes.db", same_store=False, servers_stopped=dies)
    await world.push_image(b"pushed in between", tag="late")
    report = await move(side_of(world), new, tmp_path)
    assert report.blobs == 1
    await check_same(side_of(world), new)
    assert not list(tmp_path.glob("notes.db*"))


async def test_notes_of_copies_that_are_gone_are_not_believed(
    world: World, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(world)
    new = places.side("sqlite", "folder", "new")

    async def fails(*_: object) -> None:
        raise StorageFailed("the database is not there")

    with monkeypatch.context() as broken:
        broken.setattr(module._Move, "copy_catalog", fails)
        with pytest.raises(StorageFailed):
            await move(side_of(world), new, tmp_path)
    copies = [one.phys async for one in new.store.list()]
    await new.store.delete(copies[0])
    report = await move(side_of(world), new, tmp_path)
    assert report.blobs == 1
    await check_same(side_of(world), new)


async def test_a_place_that_has_been_served_is_not_filled_again(
    world: World, places: Places, tmp_path: Path
) -> None:
    """Its servers may have acknowledged pushes; a start takes the mark of an unfinished move away."""
    await fill(world)
    new = places.side("sqlite", "folder", "new")

    async def dies() -> bool:
        raise KeyError

    with pytest.raises(KeyError):
        await migrate(side_of(world), new, tmp_path / "notes.db", same_store=False, servers_stopped=dies)
    await new.catalog.write(clear_setting, UNFINISHED_MOVE)
    with pytest.raises(TargetInUse, match="servers have been started on it"):
        await move(side_of(world), new, tmp_path)


async def test_another_registrys_blobs_are_left_alone(world: World, places: Places, tmp_path: Path) -> None:
    await fill(world)
    new = places.side("sqlite", "folder", "new")
    await new.store.write_identity("another", 1)
    with pytest.raises(TargetInUse, match="another registry"):
        await move(side_of(world), new, tmp_path)
    marked = await new.store.read_identity()
    assert marked is not None
    assert marked.store_id == "another"


async def test_a_deadlock_with_a_change_under_way_is_tried_again(places: Places) -> None:
    url = places.url("postgresql", "")
    connection = await asyncpg.connect(dsn=url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        # Longer than the other side's, so that the holder is the one that is refused.
        await connection.execute("SET LOCAL deadlock_timeout = '5s'")
        await connection.execute('LOCK TABLE "tag" IN ROW EXCLUSIVE MODE')

        async def hold() -> None:
            async with changes_held(url) as still_held:
                await still_held()

        holding = asyncio.create_task(hold())
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = "
        waiting += "(SELECT oid FROM pg_database WHERE datname = current_database())"
        while not await connection.fetchval(waiting):
            await asyncio.sleep(0.01)
        await connection.execute('LOCK TABLE "blob" IN ROW EXCLUSIVE MODE')
        await transaction.commit()
        await holding
    finally:
        await connection.close()


async def test_damaged_blobs_are_told_and_answer_404(world: World, places: Places, tmp_path: Path) -> None:
    await world.push_image(b"good", b"bad")
    bad = Digest.of(b"bad")
    (world.root / await world.phys(bad)).write_bytes(b"odd")
    new = places.side("sqlite", "folder", "new")
    report = await move(side_of(world), new, tmp_path)
    assert report.damaged == (str(bad),)
    findings = (await fsck(new.catalog, new.store, FsckSettings(deep=True))).findings
    assert [(one.kind, one.subject) for one in findings] == [("blob-out-of-service", str(bad))]


async def test_another_catalog_for_the_same_store(world: World, places: Places, tmp_path: Path) -> None:
    await fill(world)
    url = places.url("postgresql", "")
    new = Side(url, open_catalog(url), world.store)
    try:
        await move(side_of(world), new, tmp_path, same_store=True)
        assert await new.catalog.read(rows) == await world.catalog.read(rows)
        assert await new.catalog.read(count_uploads) == 1
    finally:
        await new.catalog.close()


def count_uploads(connection: Connection) -> int:
    return len(connection.execute(select(upload.c.id)).all())


async def test_what_is_there_is_not_overwritten(world: World, places: Places, tmp_path: Path) -> None:
    await fill(world)
    new = places.side("sqlite", "folder", "new")
    await move(side_of(world), new, tmp_path / "a")
    with pytest.raises(TargetInUse):
        await move(side_of(world), new, tmp_path / "b")
    assert await new.catalog.read(lambda connection: len(connection.execute(select(manifest.c.id)).all()))
