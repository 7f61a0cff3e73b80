"""Blobs on their way: who waits for whom, and what an upstream may do wrong."""

import asyncio
import threading
from collections.abc import AsyncIterable
from contextlib import aclosing
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from entrepot.errors import EntrepotError
from entrepot.oci.digest import Digest
from entrepot.server.access.decision.actor import SYSTEM
from entrepot.server.access.decision.errors import Unknown
from entrepot.server.config.model import PullThroughSection, Seconds
from entrepot.server.control.projects import change_project, delete_project, show_project
from entrepot.server.db.tables import blob as blob_table
from entrepot.server.db.tables import upstream_fetch
from entrepot.server.storage.errors import StorageFull
from entrepot.server.upkeep.collection.collect import GcSettings, collect
from tests.support.lying_registry import Reply
from tests.unit.server.movement.conftest import Process, Town, kept_nothing, part_of, pieces, sent, whole

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024
DATA = bytes(range(256)) * (3 * MIB // 256) + b"the end"


def path(digest: str, repository: str = "hub/team/app") -> str:
    return f"/v2/{repository}/blobs/{digest}"


async def _gather(stream: AsyncIterable[bytes], into: list[bytes]) -> None:
    async for piece in stream:
        into.append(piece)  # noqa: PERF401 - what came before a failure counts


async def fetches(process: Process) -> int:
    return int(
        await process.services.catalog.read(
            lambda connection: connection.execute(
                select(func.count()).select_from(upstream_fetch)
            ).scalar_one()
        )
    )


async def settled(process: Process) -> None:
    """Nothing is fetched any more."""
    async with asyncio.timeout(120):
        while await fetches(process) or process.services.pull_through.fetching:
            await asyncio.sleep(0.01)


async def is_kept(process: Process, digest: str, repository: str = "hub/team/app") -> bool:
    return await process.services.blobs.find(repository, Digest.parse(digest)) is not None


async def test_the_first_bytes_come_before_the_last_are_there(town: Town) -> None:
    digest, go_on = town.origin.blob(DATA), threading.Event()
    town.origin.instead["/blobs/"] = lambda _: sent(
        pieces(DATA[:MIB], lambda: go_on.wait(150), DATA[MIB:]), len(DATA)
    )
    process = await town.process()
    response = await process.ask("GET", path(digest))
    assert response.stream is not None
    assert response.size == len(DATA)
    first = await anext(response.stream)
    assert not go_on.is_set()
    go_on.set()
    assert first + await whole(response) == DATA
    await settled(process)
    assert await is_kept(process, digest)


async def test_many_clients_of_two_processes_take_one_fetch(town: Town) -> None:
    digest, go_on = town.origin.blob(DATA), threading.Event()
    town.origin.instead["/blobs/"] = lambda _: sent(
        pieces(DATA[:MIB], lambda: go_on.wait(150), DATA[MIB:]), len(DATA)
    )
    one, two = await town.process(), await town.process()
    opened = await asyncio.gather(*(each.ask("GET", path(digest)) for each in (one, two) for _ in range(5)))
    firsts = await asyncio.gather(*(anext(each.stream) for each in opened if each.stream is not None))
    go_on.set()
    rest = await asyncio.gather(*(whole(each) for each in opened))
    assert [a + b for a, b in zip(firsts, rest, strict=True)] == [DATA] * 10
    assert town.origin.asked("GET", digest) == 1


async def test_a_part_that_is_asked_for_comes_of_the_same_fetch(town: Town) -> None:
    digest = town.origin.blob(DATA)
    process = await town.process()
    response = await process.ask("GET", path(digest), range="bytes=1000000-2000000")
    assert response.status == 206
    assert await whole(response) == DATA[1000000:2000001]
    await settled(process)
    assert (await process.get(path(digest)))[1] == DATA
    assert town.origin.asked("GET", digest) == 1


async def test_the_fetch_goes_on_when_its_client_leaves(town: Town) -> None:
    digest, go_on = town.origin.blob(DATA), threading.Event()
    town.origin.instead["/blobs/"] = lambda _: sent(
        pieces(DATA[:MIB], lambda: go_on.wait(150), DATA[MIB:]), len(DATA)
    )
    process = await town.process()
    response = await process.ask("GET", path(digest))
    assert response.stream is not None
    async with aclosing(response.stream):
        await anext(response.stream)
    go_on.set()
    await settled(process)
    assert await is_kept(process, digest)


async def test_a_look_at_a_blob_fetches_nothing(town: Town) -> None:
    digest = town.origin.blob(DATA)
    process = await town.process()
    looked = await process.ask("HEAD", path(digest))
    assert (looked.status, looked.header(b"content-length")) == (200, str(len(DATA)).encode())
    assert town.origin.asked("GET", "/blobs/") == 0


async def test_a_broken_connection_is_gone_on_with(town: Town) -> None:
    digest = town.origin.blob(DATA)

    def broken_once(request: object) -> Reply:
        if town.origin.asked("GET", digest) == 1:
            return Reply(200, {"Content-Length": str(len(DATA))}, DATA[: 2 * MIB], cut=True)
        return part_of(DATA, request)  # type: ignore[arg-type]

    town.origin.instead["/blobs/"] = broken_once
    process = await town.process()
    assert await process.get(path(digest)) == (200, DATA)
    assert [each.headers.get("range") for each in town.upstream.asked("GET", digest)] == [
        None,
        f"bytes={2 * MIB}-",
    ]


LIES = {
    "other bytes": lambda: sent([DATA[:-1] + b"!"], len(DATA)),
    "fewer bytes": lambda: Reply(200, {"Content-Length": str(len(DATA) - 1)}, DATA[:-1]),
    "compressed": lambda: Reply(200, {"Content-Encoding": "gzip", "Content-Length": "5"}, b"12345"),
    "no end": lambda: Reply(200, {"Transfer-Encoding": "chunked"}, pieces(b"5\r\n12345\r\n")),
    "larger than may be": lambda: Reply(200, {"Content-Length": str(10**15)}, b"x" * 1000, cut=True),
}


@pytest.mark.parametrize("lie", LIES)
async def test_of_a_lie_nothing_is_kept_and_nobody_has_all(town: Town, lie: str) -> None:
    digest = town.origin.blob(DATA)
    town.origin.instead["/blobs/"] = lambda _: LIES[lie]()
    process = await town.process()
    with kept_nothing(process):
        response = await process.ask("GET", path(digest))
        if response.stream is None:
            assert response.status in {403, 413, 429, 503}
        else:
            got: list[bytes] = []
            with pytest.raises(EntrepotError):
                await _gather(response.stream, got)
            assert sum(map(len, got)) < response.size
        await settled(process)
    assert not await is_kept(process, digest)
    del town.origin.instead["/blobs/"]
    assert await process.get(path(digest)) == (200, DATA)


async def test_an_upstream_sends_nobody_to_a_cloud_s_metadata(town: Town) -> None:
    digest = town.origin.blob(DATA)
    away = {"Location": "http://169.254.169.254/latest/meta-data/"}
    town.origin.instead["/blobs/"] = lambda _: Reply(307, away)
    process = await town.process()
    status, body = await process.get(path(digest))
    assert status == 503
    assert b"sends us to http://169.254.169.254, refused" in body


async def test_what_is_fetched_for_a_project_that_goes_makes_no_other(town: Town) -> None:
    digest, go_on = town.origin.blob(DATA), threading.Event()
    town.origin.instead["/blobs/"] = lambda _: sent(
        pieces(DATA[:MIB], lambda: go_on.wait(150), DATA[MIB:]), len(DATA)
    )
    process = await town.process()
    response = await process.ask("GET", path(digest))
    assert response.stream is not None
    await anext(response.stream)
    await delete_project(process.services, SYSTEM, "hub")
    go_on.set()
    with pytest.raises(EntrepotError):
        await whole(response)
    await settled(process)
    with pytest.raises(Unknown):
        await show_project(process.services, SYSTEM, "hub")


async def test_an_upstream_that_trickles_is_given_up(town: Town) -> None:
    digest, stop = town.origin.blob(DATA), threading.Event()
    town.origin.instead["/blobs/"] = lambda _: sent(
        pieces(DATA[:MIB], *[b"x", lambda: stop.wait(0.2)] * 200), len(DATA)
    )
    process = await town.process(PullThroughSection(timeout=Seconds(3), negative=Seconds(0)))
    response = await process.ask("GET", path(digest))
    with pytest.raises(EntrepotError, match="too slowly"):
        await whole(response)
    stop.set()
    await settled(process)
    assert not await is_kept(process, digest)


async def test_a_store_that_is_full_ends_the_fetch_and_keeps_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = town.origin.blob(DATA)
    process = await town.process()
    store = process.services.store
    append = store.append

    async def full(upload: str, offset: int, chunks: object, **more: object) -> int:
        async def some() -> object:
            came = 0
            async for chunk in chunks:  # type: ignore[attr-defined]
                came += len(chunk)
                if came > MIB:
                    raise StorageFull("no room")
                yield chunk

        return await append(upload, offset, some(), **more)  # type: ignore[arg-type]

    with kept_nothing(process):
        monkeypatch.setattr(store, "append", full)
        response = await process.ask("GET", path(digest))
        if response.stream is None:
            assert response.status == 507
        else:
            with pytest.raises(StorageFull):
                await whole(response)
        await settled(process)
    monkeypatch.undo()
    assert await process.get(path(digest)) == (200, DATA)


async def test_another_process_goes_on_where_a_stopped_one_was(town: Town) -> None:
    digest, go_on = town.origin.blob(DATA), threading.Event()

    def slow(request: object) -> Reply:
        if town.origin.asked("GET", digest) == 1:
            return sent(pieces(DATA[: 2 * MIB], lambda: go_on.wait(150)), len(DATA))
        return part_of(DATA, request)  # type: ignore[arg-type]

    town.origin.instead["/blobs/"] = slow
    one = await town.process()
    response = await one.ask("GET", path(digest))
    assert response.stream is not None
    came = 0
    async for piece in response.stream:
        came += len(piece)
        if came >= MIB:
            break
    await one.services.pull_through.close()
    go_on.set()
    two = await town.process()
    assert await two.get(path(digest)) == (200, DATA)
    again = town.upstream.asked("GET", digest)[-1].headers["range"]
    assert int(again.removeprefix("bytes=").rstrip("-")) > 0


async def test_another_repository_gets_it_only_if_the_upstream_has_it_there(town: Town) -> None:
    digest = town.origin.blob(DATA)
    town.origin.instead["/other/app/blobs/"] = lambda _: Reply(404, {}, b"{}")
    process = await town.process()
    await process.get(path(digest))
    await settled(process)
    assert (await process.get(path(digest, "hub/other/app")))[0] == 404
    assert (await process.get(path(digest, "hub/third/app"))) == (200, DATA)
    assert await is_kept(process, digest, "hub/third/app")
    assert town.origin.asked("GET", "/third/app/blobs/") == 0


async def test_a_manifest_kept_before_its_layers_refers_to_them_once_they_are_here(
    town: Town, tmp_path: Path
) -> None:
    from entrepot.server.db.tables import manifest_blob, manifest_missing

    layer = DATA + b"of an image"
    digest = town.origin.image(layer, "v1")
    process = await town.process()
    await process.get(f"/v2/hub/team/app/manifests/{digest}")
    for blob in town.origin.blobs:
        assert (await process.get(path(blob)))[0] == 200
    await settled(process)

    def counts(connection: object) -> tuple[int, int]:
        count = [
            connection.execute(select(func.count()).select_from(each)).scalar_one()  # type: ignore[attr-defined]
            for each in (manifest_blob, manifest_missing)
        ]
        return count[0], count[1]

    assert await process.services.catalog.read(counts) == (2, 0)


async def test_what_the_quota_has_no_room_for_is_passed_on_and_not_kept(town: Town) -> None:
    manifest = town.origin.image(DATA, "v1")
    digest = next(each for each, data in town.origin.blobs.items() if data == DATA)
    process = await town.process()
    await change_project(process.services, SYSTEM, "hub", {"quota_bytes": 100})
    with kept_nothing(process):
        for reference in ("v1", manifest):
            status, raw = await process.get(f"/v2/hub/team/app/manifests/{reference}")
            assert (status, raw) == (200, town.origin.manifests["v1"][0])
        assert await asyncio.gather(*(process.get(path(digest)) for _ in range(3))) == [(200, DATA)] * 3
        await settled(process)
    assert not await is_kept(process, digest)
    await change_project(process.services, SYSTEM, "hub", {"quota_bytes": None})
    assert await process.get(path(digest)) == (200, DATA)
    await settled(process)
    assert await is_kept(process, digest)


async def test_in_a_full_project_what_was_pulled_longest_ago_makes_room(town: Town) -> None:
    old, layer = town.origin.image(b"a" * MIB, "old"), DATA
    process = await town.process()
    services = process.services
    await change_project(services, SYSTEM, "hub", {"quota_bytes": 4 * MIB})
    for blob in [f"manifests/{old}", *(f"blobs/{each}" for each in town.origin.blobs)]:
        assert (await process.get(f"/v2/hub/team/old/{blob}"))[0] == 200
    await settled(process)
    town.origin.image(layer, "new")
    digest = next(each for each, data in town.origin.blobs.items() if data == layer)

    async def pull() -> None:
        assert (await process.get("/v2/hub/team/new/manifests/new"))[0] == 200
        assert await process.get(path(digest, "hub/team/new")) == (200, layer)
        await settled(process)

    await pull()
    assert not await is_kept(process, digest, "hub/team/new")
    assert await services.manifests.get("hub/team/old", Digest.parse(old)) is None
    # A day later: leases of what was fetched are over.
    leases = update(blob_table).values(lease_until=0)
    await services.catalog.write(lambda connection: connection.execute(leases) and None)
    await collect(services.catalog, GcSettings())
    await pull()
    assert await is_kept(process, digest, "hub/team/new")
