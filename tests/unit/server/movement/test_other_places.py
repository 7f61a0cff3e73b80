"""The same on PostgreSQL, and with blobs where objects can't grow."""

import asyncio
import threading

import pytest

from entrepot.oci.digest import Digest
from entrepot.server import compose
from entrepot.server.config.model import CatalogSection, Config, LogSection, ServerSection
from entrepot.server.storage.memory import MemoryDriver
from entrepot.server.storage.segments import SegmentedUploads
from entrepot.server.storage.store import BlobStore
from tests.support.lying_registry import Reply, Request
from tests.unit.server.movement.conftest import Town, part_of, pieces, sent, whole

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024
DATA = bytes(range(256)) * (20 * MIB // 256) + b"the end"


@pytest.fixture(params=["segments", "postgresql"])
def elsewhere(town: Town, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Town:
    if request.param == "segments":
        driver = MemoryDriver()
        monkeypatch.setattr(compose, "open_store", lambda _: BlobStore(driver, SegmentedUploads(driver)))
        town.settings = Config(server=ServerSection(data=town.folder / "other"), log=LogSection(access="off"))
    else:
        url = request.getfixturevalue("postgresql_url")
        town.settings = Config(
            server=ServerSection(data=town.folder / "other"),
            log=LogSection(access="off"),
            catalog=CatalogSection(url=url),
        )
    compose.prepare_now(town.settings)
    return town


async def test_two_processes_take_one_fetch_and_both_read_while_it_grows(elsewhere: Town) -> None:
    town = elsewhere
    digest, go_on = town.origin.blob(DATA), threading.Event()
    town.origin.instead["/blobs/"] = lambda _: sent(
        pieces(DATA[: 18 * MIB], lambda: go_on.wait(150), DATA[18 * MIB :]), len(DATA)
    )
    one, two = await town.process(), await town.process()
    path = f"/v2/hub/team/app/blobs/{digest}"
    opened = await asyncio.gather(*(each.ask("GET", path) for each in (one, two, one, two)))
    firsts = await asyncio.gather(*(anext(each.stream) for each in opened if each.stream is not None))
    assert not go_on.is_set()
    go_on.set()
    rest = await asyncio.gather(*(whole(each) for each in opened))
    assert [a + b for a, b in zip(firsts, rest, strict=True)] == [DATA] * 4
    assert town.origin.asked("GET", digest) == 1
    assert await one.get(path) == (200, DATA)


async def test_a_stopped_fetch_is_gone_on_with(elsewhere: Town) -> None:
    town = elsewhere
    digest, go_on = town.origin.blob(DATA), threading.Event()

    def slow(request: Request) -> Reply:
        if town.origin.asked("GET", digest) == 1:
            return sent(pieces(DATA[: 18 * MIB], lambda: go_on.wait(150)), len(DATA))
        return part_of(DATA, request)

    town.origin.instead["/blobs/"] = slow
    one, two = await town.process(), await town.process()
    path = f"/v2/hub/team/app/blobs/{digest}"
    response = await one.ask("GET", path)
    assert response.stream is not None
    came = 0
    while came < 17 * MIB:
        came += len(await anext(response.stream))
    await one.services.pull_through.close()
    go_on.set()
    assert await two.get(path) == (200, DATA)
    again = town.upstream.asked("GET", digest)[-1].headers["range"]
    assert int(again.removeprefix("bytes=").rstrip("-")) >= 8 * MIB


async def test_a_tag_is_kept_and_found_by_another_process(elsewhere: Town) -> None:
    digest = elsewhere.origin.image(b"layer", "v1")
    one, two = await elsewhere.process(), await elsewhere.process()
    got = await asyncio.gather(*(each.get("/v2/hub/team/app/manifests/v1") for each in (one, two) * 3))
    assert {status for status, _ in got} == {200}
    assert elsewhere.origin.asked("GET", "/manifests/") == 1
    found = await two.services.manifests.get("hub/team/app", "v1")
    assert found is not None
    assert found.digest == Digest.parse(digest)
    assert found.proxied
