"""The files of stored images: listed behind the push, shown to who may pull and to nobody else."""

import io
import tarfile
from contextlib import aclosing
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from sqlalchemy import select

from entrepot.errors import NotFound
from entrepot.server.access.decision.errors import InvalidCredentials, PermitRefused
from entrepot.server.control import contents
from entrepot.server.control.contents import FilesNotListed, NoSuchFileInImage, index_settings
from entrepot.server.db.tables import derived
from entrepot.server.insight import reading
from entrepot.server.insight.indexer import Indexer, IndexSettings
from tests.support import tarballs
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import NOBODY, actor

pytestmark = pytest.mark.anyio

BASE = tarballs.archive(
    tarballs.directory(b"etc/"),
    tarballs.file(b"etc/conf", b"one\n"),
    tarballs.directory(b"usr/"),
    tarballs.directory(b"usr/bin/"),
    tarballs.file(b"usr/bin/tool", b"t" * 50_000, mode=0o755),
    tarballs.hard_link(b"usr/bin/again", b"usr/bin/tool"),
    tarballs.symlink(b"bin", b"usr/bin"),
    tarballs.file(b"gone", b"never seen"),
)
TOP = tarballs.archive(
    tarballs.file(b"etc/conf", b"two\n"),
    tarballs.file(b".wh.gone", b""),
    tarballs.file("etc/<b>\u202e\x1b[0m".encode(), b"hostile"),
)


async def indexed(registry: Registry, settings: IndexSettings | None = None) -> dict[str, Any]:
    services = registry.services
    indexer = Indexer(services.catalog, services.store, settings or index_settings(services.config))
    return dict(await indexer.run())


async def looked_at(registry: Registry, *layers: bytes, who: str = "puller") -> contents.Contents:
    made = await registry.push("acme/files", "v1", files=layers)
    await indexed(registry)
    return await contents.open_contents(
        registry.services, await actor(registry, who), "acme/files", made.digest
    )


async def everything(stream: Any) -> bytes:
    async with aclosing(stream) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_a_folder_is_listed_with_the_layers_that_made_it(team: Registry) -> None:
    found = await looked_at(team, BASE, TOP)
    rows = await contents.list_files(found, ())
    assert [(row.path, row.mode, row.row.size, row.hidden_by) for row in rows] == [
        ("/bin", "lrwxrwxrwx", 0, None),
        ("/etc/", "drwxr-xr-x", 11, None),
        ("/gone", "-rw-r--r--", 10, 2),
        ("/usr/", "drwxr-xr-x", 50_000, None),
    ]
    conf = await contents.find_file(found, (b"etc", b"conf"))
    assert (conf.row.brought, conf.row.layer, conf.row.source) == (0, 1, 1)
    deep = await contents.list_files(found, (), deep=True, by_size=True, hidden=False)
    assert [row.path for row in deep if row.is_file][:2] == ["/usr/bin/again", "/usr/bin/tool"]
    assert (found.view.head.wasted_bytes, found.view.head.files) == (18, 4)


async def test_pages_of_a_list_join_without_gaps(team: Registry) -> None:
    names = [b"d%03d/f%d" % (number % 40, number) for number in range(3000)]
    found = await looked_at(team, tarballs.archive(*(tarballs.file(name, name) for name in names)))
    assert len(found.view.head.firsts) > 2
    seen: list[str] = []
    after: tuple[bytes, ...] = ()
    while rows := await contents.list_files(found, (), deep=True, after=after, n=700):
        seen += [row.path for row in rows]
        after = rows[-1].row.path
    assert len(seen) == len(set(seen)) == 3040
    for folder in (b"d000", b"d039"):
        assert len(await contents.list_files(found, (folder,))) == 75
    assert (await contents.find_file(found, (b"d007", b"f2007"))).row.size == 10


async def test_contents_come_as_they_are(team: Registry) -> None:
    found = await looked_at(team, BASE, TOP)
    for path, content in (
        ((b"etc", b"conf"), b"two\n"),
        ((b"bin", b"tool"), b"t" * 50_000),
        ((b"usr", b"bin", b"again"), b"t" * 50_000),
        ((b"gone",), b"never seen"),
    ):
        row = await contents.find_file(found, path)
        assert await everything(contents.read_file(team.services, found, row)) == content


async def test_a_folder_comes_as_a_tar(team: Registry) -> None:
    found = await looked_at(team, BASE, TOP)
    data = await everything(contents.read_tar(team.services, found, (b"usr",)))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert sorted(archive.getnames()) == ["usr/bin", "usr/bin/again", "usr/bin/tool"]
        again = archive.extractfile("usr/bin/tool")
        assert again is not None
        assert again.read() == b"t" * 50_000
    whole = await everything(contents.read_tar(team.services, found, ()))
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        names = archive.getnames()
    assert "gone" not in names
    assert "etc/<b>\u202e\x1b[0m" in names


async def test_images_are_compared_file_by_file(team: Registry) -> None:
    first = await looked_at(team, BASE)
    second = await looked_at(team, BASE, TOP)
    rows = await contents.compare_files(first, second)
    assert [(row.kind, row.path, row.size_change) for row in rows] == [
        ("removed", "/gone", -10),
        ("added", "/etc/<b>\\u202e\\x1b[0m", 7),
        ("changed", "/etc/conf", 0),
    ]


async def test_only_who_may_pull_looks_in(team: Registry) -> None:
    made = await team.push("acme/files", "v1", files=(BASE,))
    await indexed(team)
    for name in ("viewer", "stranger"):
        with pytest.raises((PermitRefused, NotFound)):
            await contents.open_contents(team.services, await actor(team, name), "acme/files", made.digest)
    with pytest.raises(InvalidCredentials):
        await contents.open_contents(team.services, NOBODY, "acme/files", made.digest)


async def test_knowing_digests_shows_nothing_of_another_repository(team: Registry) -> None:
    """The image is listed; the same manifest is not the other repository's, nor are its layers."""
    made = await team.push("acme/files", "v1", files=(BASE,))
    await indexed(team)
    await team.project("theirs")
    await team.push("theirs/app", "v1", files=({"own": b"own"},))
    with pytest.raises(NotFound):
        await contents.open_contents(team.services, await actor(team, "root"), "theirs/app", made.digest)


async def test_what_cannot_be_read_says_why_and_is_left_alone(team: Registry) -> None:
    hostile = tarballs.archive(tarballs.file(b"../../etc/passwd", b"x"))
    made = await team.push("acme/files", "v1", files=(hostile,))
    assert (await indexed(team))["failed"] == 1
    assert await indexed(team) == {}
    with pytest.raises(FilesNotListed, match=r"has '\.\.' in its name"):
        await contents.open_contents(team.services, await actor(team, "puller"), "acme/files", made.digest)


async def test_a_bomb_ends_its_own_process(team: Registry) -> None:
    names = [tarballs.file(b"f%06d" % number, b"") for number in range(20_000)]
    made = await team.push("acme/files", "v1", files=(tarballs.archive(*names),))
    tight = IndexSettings(max_layer_bytes=1 << 30, skip_projects=(), memory_bytes=1 << 30, timeout_s=0.001)
    await indexed(team, tight)
    with pytest.raises(FilesNotListed, match="took more than"):
        await contents.open_contents(team.services, await actor(team, "puller"), "acme/files", made.digest)


async def test_who_stops_reading_keeps_nobody_from_it_for_long(
    team: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await looked_at(team, tarballs.archive(tarballs.file(b"large", b"x" * 8_000_000)))
    row = await contents.find_file(found, (b"large",))
    monkeypatch.setattr(reading, "READERS", 1)
    monkeypatch.setattr(contents, "READ_TIMEOUT_S", 8.0)
    monkeypatch.setattr(reading, "_gates", WeakKeyDictionary())
    stalled = contents.read_file(team.services, found, row)
    async with aclosing(stalled):
        assert await anext(stalled)
        await team.push("acme/files", "v2", files=(BASE,))
        assert (await indexed(team))["images"] == 1  # lists are made all the same
        monkeypatch.setattr(reading, "WAIT_S", 0.05)
        with pytest.raises(reading.TooManyReaders):
            await everything(contents.read_file(team.services, found, row))
        monkeypatch.setattr(reading, "WAIT_S", 60.0)
        monkeypatch.setattr(contents, "READ_TIMEOUT_S", 60.0)
        assert len(await everything(contents.read_file(team.services, found, row))) == 8_000_000
        with pytest.raises(reading.ContentUnreadable):
            await everything(stalled)


async def test_a_tar_of_too_many_names_is_refused_before_all_are_held(
    team: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [tarballs.file(b"f%05d" % n, b"") for n in range(2000)]
    found = await looked_at(team, tarballs.archive(*names))
    monkeypatch.setattr(contents, "MAX_TAR_FILES", 10)
    seen = 0
    below = found.view.below

    async def counted(folder: Any) -> Any:
        nonlocal seen
        async with aclosing(below(folder)) as rows:
            async for row in rows:
                seen += 1
                yield row

    monkeypatch.setattr(found.view, "below", counted)
    with pytest.raises(NoSuchFileInImage, match="more than 10 names"):
        await everything(contents.read_tar(team.services, found, ()))
    assert seen == 11


async def test_projects_and_large_layers_are_left_out_when_settings_say_so(team: Registry) -> None:
    made = await team.push("acme/files", "v1", files=(BASE,))
    skip = IndexSettings(max_layer_bytes=1 << 30, skip_projects=("ac*",), memory_bytes=1 << 30, timeout_s=60)
    await indexed(team, skip)
    with pytest.raises(FilesNotListed, match="leave this project out"):
        await contents.open_contents(team.services, await actor(team, "puller"), "acme/files", made.digest)


async def test_lists_may_be_removed_and_are_made_again(team: Registry) -> None:
    await looked_at(team, BASE, TOP)
    store = team.services.store
    await store.delete_derived([stored.phys async for stored in store.list_derived()])
    made = await team.push("acme/files", "v1", files=(BASE, TOP))
    who = await actor(team, "puller")
    with pytest.raises(FilesNotListed, match="not been listed yet"):
        await contents.open_contents(team.services, who, "acme/files", made.digest)
    await indexed(team)  # finds the layers' lists gone, too
    await indexed(team)
    found = await contents.open_contents(team.services, who, "acme/files", made.digest)
    assert len(await contents.list_files(found, ())) == 4


async def test_nothing_stays_of_an_image_that_is_gone(team: Registry) -> None:
    from sqlalchemy import delete

    from entrepot.server.db.tables import manifest, tag

    await looked_at(team, BASE)
    services = team.services

    def remove(connection: Any) -> None:
        for table in (tag, manifest):
            connection.execute(delete(table))

    await services.catalog.write(remove)
    await Indexer(services.catalog, services.store, index_settings(services.config)).run()
    kinds = await services.catalog.read(
        lambda c: [row.kind for row in c.execute(select(derived.c.kind).distinct())]
    )
    assert kinds == ["layer-files"]


async def test_what_is_not_there_is_not_there(team: Registry) -> None:
    found = await looked_at(team, BASE)
    with pytest.raises(NoSuchFileInImage):
        await contents.find_file(found, (b"none",))
    with pytest.raises(NoSuchFileInImage):
        await contents.list_files(found, (b"etc", b"conf"))
