"""A registry moves to another catalog and store, and is the same there."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from entrepot.oci.digest import Digest
from entrepot.server.db import open_catalog
from entrepot.server.db.settings import get_identity
from entrepot.server.db.tables import manifest, metadata, project, upload
from entrepot.server.jobs.fsck import FsckSettings, fsck
from entrepot.server.operations import migrate as module
from entrepot.server.operations.errors import TargetInUse
from entrepot.server.operations.migrate import Migrated, Side, migrate
from entrepot.server.storage.errors import StorageFailed
from tests.unit.server.jobs.world import ACTOR, World
from tests.unit.server.operations.conftest import Places

pytestmark = pytest.mark.anyio


async def stopped() -> bool:
    return True


def side_of(world: World) -> Side:
    return Side(f"sqlite:///{world.root.parent / 'catalog.db'}", world.catalog, world.store)


def rows(connection: Connection, skip: frozenset[str] = frozenset()) -> dict[str, list[Any]]:
    """Every row of every table that a move keeps as it is."""
    left_out = {"node", "lease", "setting", "upload", "trash", "blob"} | skip
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
    await world.uploads.start("team/app", actor=ACTOR)


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
