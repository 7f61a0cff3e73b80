"""Manifests of proxy projects: tags, freshness, what an upstream may answer."""

import asyncio
import base64
import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from entrepot.oci.digest import Digest
from entrepot.server.access.decision.actor import SYSTEM
from entrepot.server.config.model import PullThroughSection, Seconds
from entrepot.server.control.projects import delete_project
from entrepot.server.control.pull_through import add_upstream, show_upstream
from entrepot.server.repos.manifests import StoredManifest
from tests.support import lying_registry
from tests.support.lying_registry import Reply
from tests.unit.server.movement.conftest import EACH_TIME, INDEX, MANIFEST, Origin, Process, Town, digest_of

pytestmark = pytest.mark.anyio
V1 = "/v2/hub/team/app/manifests/v1"
HERE = "hub/team/app"


async def kept(process: Process, reference: str | Digest) -> StoredManifest | None:
    return await process.services.manifests.get(HERE, reference)


async def test_a_tag_is_fetched_kept_and_not_asked_for_again(town: Town) -> None:
    digest = town.origin.image(b"layer", "v1")
    process = await town.process()
    first = await process.ask("GET", V1)
    assert (first.status, first.body) == (200, town.origin.manifests["v1"][0])
    assert first.header(b"content-type") == MANIFEST.encode()
    assert first.header(b"docker-content-digest") == digest.encode()
    await process.get(V1)
    await process.get(f"/v2/hub/team/app/manifests/{digest}")
    assert town.origin.asked("HEAD", "/manifests/") == 1
    assert town.origin.asked("GET", "/manifests/") == 1
    found = await kept(process, "v1")
    assert found is not None
    assert str(found.digest) == digest


async def test_a_look_keeps_nothing(town: Town) -> None:
    digest = town.origin.image(b"layer", "v1")
    process = await town.process()
    for reference in ("v1", digest):
        looked = await process.ask("HEAD", f"/v2/hub/team/app/manifests/{reference}")
        assert (looked.status, looked.header(b"docker-content-digest")) == (200, digest.encode())
        assert looked.header(b"content-length") == str(len(town.origin.manifests["v1"][0])).encode()
    assert town.origin.asked("GET", "/manifests/") == 0
    assert await kept(process, Digest.parse(digest)) is None


async def test_what_was_looked_at_by_tag_and_got_by_digest_has_its_tag(town: Town) -> None:
    """As docker and containerd pull: when the upstream is away later, the tag is there."""
    digest = town.origin.image(b"layer", "v1")
    looking, process = await town.process(EACH_TIME), await town.process(EACH_TIME)
    await looking.ask("HEAD", V1)
    await process.get(f"/v2/hub/team/app/manifests/{digest}")
    town.upstream.stop()
    assert (await process.get(V1))[0] == 200


async def test_a_tag_that_moved_is_fetched_anew(town: Town) -> None:
    town.origin.image(b"one", "v1")
    process = await town.process(EACH_TIME)
    await process.get(V1)
    digest = town.origin.image(b"two", "v1")
    assert digest_of((await process.get(V1))[1]) == digest


async def test_a_word_that_is_not_quite_fresh_is_served_and_asked_for_behind_it(town: Town) -> None:
    old = town.origin.image(b"one", "v1")
    process = await town.process(PullThroughSection(fresh=Seconds(0), stale=Seconds(3600)))
    await process.get(V1)
    new = town.origin.image(b"two", "v1")
    assert digest_of((await process.get(V1))[1]) == old
    async with asyncio.timeout(120):
        while (found := await kept(process, "v1")) is None or str(found.digest) != new:
            await asyncio.sleep(0.01)


async def test_many_at_once_ask_once(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    one = await town.process()
    got = await asyncio.gather(*(one.get(V1) for _ in range(16)))
    assert {status for status, _ in got} == {200}
    assert town.origin.asked("HEAD", "/manifests/") == 1
    assert town.origin.asked("GET", "/manifests/") == 1


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_what_is_here_is_served_while_the_upstream_refuses(town: Town, status: int) -> None:
    digest = town.origin.image(b"layer", "v1")
    process = await town.process(EACH_TIME)
    await process.get(V1)
    town.origin.instead["/manifests/"] = lambda _: Reply(status, {"Retry-After": "3600"}, b"{}")
    served = await process.ask("GET", V1)
    assert (served.status, digest_of(served.body)) == (200, digest)
    warning = served.header(b"warning")
    assert warning is not None
    assert warning.startswith(b'299 - "not compared with localhost')


async def test_what_is_here_is_served_while_the_upstream_is_down(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    process = await town.process(EACH_TIME)
    await process.get(V1)
    town.upstream.stop()
    served = await process.ask("GET", V1)
    assert served.status == 200
    assert served.header(b"warning") is not None


async def test_what_is_here_does_not_wait_for_an_upstream_that_says_nothing(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    process = await town.process(replace(EACH_TIME, patience=Seconds(0.2)))
    await process.get(V1)
    go_on = threading.Event()
    town.origin.instead["/manifests/"] = lambda _: go_on.wait(150) and None
    async with asyncio.timeout(120):
        served = await process.ask("GET", V1)
    go_on.set()
    assert served.status == 200
    warning = served.header(b"warning")
    assert warning is not None
    assert b"has not answered within 0.2 s" in warning


@pytest.mark.parametrize(
    ("status", "ours", "code"),
    [(401, 403, "DENIED"), (403, 403, "DENIED"), (429, 429, "TOOMANYREQUESTS"), (503, 503, "UNAVAILABLE")],
)
async def test_what_is_not_here_is_refused_in_words(town: Town, status: int, ours: int, code: str) -> None:
    town.origin.instead["/manifests/"] = lambda _: Reply(status, {"Retry-After": "3600"}, b"{}")
    process = await town.process()
    refused = await process.ask("GET", V1)
    said = json.loads(refused.body)["errors"][0]
    assert (refused.status, said["code"]) == (ours, code)
    assert "upstream localhost" in said["message"]
    if ours == 429:
        assert refused.header(b"retry-after") == b"3600"


async def test_an_upstream_that_wants_a_pause_gets_it(town: Town) -> None:
    town.origin.instead["/manifests/"] = lambda _: Reply(429, {"Retry-After": "3600"}, b"{}")
    process = await town.process()
    for name in ("a", "b", "c"):
        assert (await process.get(f"/v2/hub/team/{name}/manifests/v1"))[0] == 429
    assert town.origin.asked("HEAD", "/manifests/") == 1


async def test_a_tag_that_is_gone_is_served_on_by_setting_alone(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    process = await town.process(EACH_TIME)
    await process.get(V1)
    del town.origin.manifests["v1"]
    assert (await process.get(V1))[0] == 404
    serving = await town.process(replace(EACH_TIME, serve_gone=True))
    served = await serving.ask("GET", V1)
    assert served.status == 200
    assert served.header(b"warning") is not None


async def test_what_is_nowhere_is_asked_for_once_in_a_while(town: Town) -> None:
    process = await town.process(PullThroughSection(negative=Seconds(3600)))
    absent = digest_of(b"absent")
    for _ in range(3):
        assert (await process.get(V1))[0] == 404
        assert (await process.get(f"/v2/hub/team/app/manifests/{absent}"))[0] == 404
        assert (await process.get(f"/v2/hub/team/app/blobs/{absent}"))[0] == 404
    assert town.origin.asked("HEAD", "/manifests/v1") == 1
    assert town.origin.asked("GET", absent) == 2


async def test_an_index_and_its_children_keep_their_bytes(town: Town) -> None:
    child = town.origin.image(b"layer")
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                {"mediaType": MANIFEST, "digest": child, "size": len(town.origin.manifests[child][0])},
                {"mediaType": MANIFEST, "digest": digest_of(b"of another platform"), "size": 19},
            ],
        },
        indent=5,
    ).encode()
    town.origin.manifest(raw, INDEX, "v1")
    process = await town.process()
    assert await process.get(V1) == (200, raw)
    assert (await process.get(f"/v2/hub/team/app/manifests/{child}"))[1] == town.origin.manifests[child][0]
    assert await process.get(V1) == (200, raw)


async def test_a_manifest_with_another_digest_is_not_kept(town: Town) -> None:
    digest = town.origin.image(b"layer", "v1")
    town.origin.manifests[digest] = (b'{"schemaVersion": 2}', MANIFEST)
    process = await town.process()
    assert (await process.get(V1))[0] == 503
    assert await kept(process, Digest.parse(digest)) is None


async def test_a_huge_manifest_is_not_read_to_its_end(town: Town) -> None:
    huge = b'{"schemaVersion": 2, "x": "' + b"x" * (5 * 1024 * 1024) + b'"}'
    town.origin.manifest(huge, MANIFEST, "v1")
    process = await town.process()
    status, body = await process.get(V1)
    assert status == 503
    assert b"did not answer as a registry does" in body


async def test_what_is_no_manifest_is_refused_in_words(town: Town) -> None:
    town.origin.manifest(b"<html>sign in to this network</html>", "text/html", "v1")
    process = await town.process()
    status, body = await process.get(V1)
    assert status == 503
    assert b"upstream localhost" in body


async def test_a_tag_that_moves_between_look_and_fetch_is_never_mixed(town: Town) -> None:
    first = town.origin.image(b"one", "v1")
    process = await town.process()
    looked = await process.ask("HEAD", V1)
    town.origin.image(b"two", "v1")
    got = await process.ask("GET", V1)
    assert looked.header(b"docker-content-digest") == got.header(b"docker-content-digest") == first.encode()
    assert digest_of(got.body) == first


async def test_pushes_are_refused_with_a_sentence(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    process = await town.process()
    for name in ("hub/team/app", "hub/new"):
        refused = await process.ask("POST", f"/v2/{name}/blobs/uploads/")
        assert refused.status == 403
        assert "hub is a proxy project" in json.loads(refused.body)["errors"][0]["message"]
        await process.get(V1)


async def test_an_upstream_of_a_private_network_needs_leave(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    process = await town.process(inside=False)
    status, body = await process.get(V1)
    assert status == 503
    assert b"--inside" in body
    assert town.origin.asked("GET") == 0


async def test_only_what_is_allowed_and_not_denied_is_fetched(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    process = await town.process(allow=("team/**",), deny=("team/secret",))
    assert (await process.get(V1))[0] == 200
    for name in ("other/app", "team/secret"):
        status, body = await process.get(f"/v2/hub/{name}/manifests/v1")
        assert status == 403
        assert b"an admin has ruled it out" in body
    assert town.origin.asked("HEAD", "secret") == 0


async def test_the_budget_is_read_and_noted(town: Town) -> None:
    town.origin.headers = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "20;w=21600"}
    town.origin.image(b"layer", "v1")
    process = await town.process()
    await process.get(V1)
    state = (await show_upstream(process.services, SYSTEM, "hub")).state
    assert (state.limit, state.remaining, state.window_s, state.failure) == (100, 20, 21600, None)
    town.origin.instead["/manifests/"] = lambda _: Reply(403, {}, b"{}")
    await process.get("/v2/hub/team/other/manifests/v1")
    failed = (await show_upstream(process.services, SYSTEM, "hub")).state
    assert failed.failure is not None
    assert "refuses this" in failed.failure


async def test_the_last_pulls_of_a_budget_are_for_what_is_not_here(town: Town) -> None:
    old = town.origin.image(b"one", "v1")
    town.origin.image(b"other", "v2")
    process = await town.process(EACH_TIME)
    await process.get(V1)
    new = town.origin.image(b"two", "v1")
    town.origin.headers = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "3;w=21600"}
    served = await process.ask("GET", V1)
    assert digest_of(served.body) == old
    warning = served.header(b"warning")
    assert warning is not None
    assert b"allows 3 pulls more" in warning
    assert (await process.get("/v2/hub/team/app/manifests/v2"))[0] == 200
    town.origin.headers = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "90;w=21600"}
    assert digest_of((await process.get(V1))[1]) == new


async def test_a_mirror_is_asked_for_names_of_the_registry_it_stands_for(town: Town) -> None:
    digest = town.origin.image(b"layer", "v1")
    process = await town.process()
    registry = town.upstream.host
    got = await process.ask("GET", "/v2/team/app/manifests/v1", f"ns={registry}")
    assert (got.status, digest_of(got.body)) == (200, digest)
    assert got.header(b"oci-namespace") == registry.encode()
    assert (await process.ask("GET", "/v2/team/app/manifests/v1", "ns=other.example")).status == 404
    assert (await process.ask("GET", "/v2/team/app/manifests/v1")).status == 404


async def test_a_mirror_of_all_serves_what_no_project_here_has(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    process = await town.process(whole=True)
    await process.services.pull_through.directory.of("read it now")
    assert (await process.get("/v2/team/app/manifests/v1"))[0] == 200
    made = await process.ask("POST", "/v2/mine/app/blobs/uploads/")
    assert made.status == 202
    asked = len(town.upstream.requests)
    assert (await process.get("/v2/mine/other/manifests/v1"))[0] == 404
    await delete_project(process.services, SYSTEM, "mine")
    later = await town.process()
    await later.services.pull_through.directory.of("read it now")
    assert (await later.get("/v2/mine/app/manifests/v1"))[0] == 404
    assert len(town.upstream.requests) == asked


def signature(town: Town, subject: str, kind: str) -> dict[str, Any]:
    """One at the upstream; its descriptor as its list of referrers has it."""
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": town.origin.blob(b"{}"), "size": 2}
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": empty,
            "layers": [empty],
            "subject": {
                "mediaType": MANIFEST,
                "digest": subject,
                "size": len(town.origin.manifests[subject][0]),
            },
        }
    ).encode()
    digest = town.origin.manifest(raw, MANIFEST)
    return {"mediaType": MANIFEST, "digest": digest, "size": len(raw), "artifactType": kind}


async def test_signatures_are_listed_and_come_along(town: Town) -> None:
    subject = town.origin.image(b"layer", "v1")
    listed = [signature(town, subject, kind) for kind in ("a/signature", "a/sbom")]
    answer = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()
    town.origin.instead["/referrers/"] = lambda _: Reply(200, {"Content-Type": INDEX}, answer)
    process = await town.process()
    path = f"/v2/hub/team/app/referrers/{subject}"

    async def shown(query: str = "") -> list[str]:
        status, body = await process.get(path, query)
        assert status == 200
        return [one["digest"] for one in json.loads(body)["manifests"]]

    digests = sorted(one["digest"] for one in listed)
    assert await shown() == digests
    assert await shown("artifactType=a/sbom") == [listed[1]["digest"]]
    assert await shown("n=1") == digests[:1]
    assert await shown(f"last={digests[0]}") == digests[1:]
    await process.get(f"/v2/hub/team/app/manifests/{listed[0]['digest']}")
    assert await shown() == digests
    assert town.origin.asked("GET", "/referrers/") == 1
    town.upstream.stop()
    later = await town.process()
    _, body = await later.get(path)
    assert [one["digest"] for one in json.loads(body)["manifests"]] == [listed[0]["digest"]]


async def test_an_account_is_shown_to_the_upstream_alone(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    layer = next(each for each, data in town.origin.blobs.items() if data == b"layer")
    right = "Basic " + base64.b64encode(b"bot:hunter2").decode()
    elsewhere: list[str | None] = []

    def stored(request: lying_registry.Request) -> Reply:
        elsewhere.append(request.authorization)
        return Reply(200, {}, b"layer")

    def asked_for(request: lying_registry.Request) -> Reply | None:
        if request.authorization != right:
            return Reply(401, {"WWW-Authenticate": 'Basic realm="far"'}, b"{}")
        if request.path.endswith(layer):
            return Reply(307, {"Location": f"http://127.0.0.1:{other.port}/stored"})
        return town.origin.answer(request)

    with lying_registry.lying_registry(stored) as other, lying_registry.lying_registry(asked_for) as far:
        process = await town.process(url=far.url, username="bot", password="hunter2")
        assert (await process.get(V1))[0] == 200
        assert await process.get(f"/v2/hub/team/app/blobs/{layer}") == (200, b"layer")
    assert elsewhere == [None]


async def test_a_password_that_no_key_opens_is_asked_for_again(town: Town) -> None:
    town.origin.image(b"layer", "v1")
    first = await town.process(username="bot", password="hunter2")
    first.services.seal_file.write_bytes(b"k" * 32)
    later = await town.process()
    status, body = await later.get(V1)
    assert status == 403
    assert b"entrepot admin upstream set hub --username" in body
    assert b"hunter2" not in body


async def test_who_waits_when_the_server_stops_is_told_to_come_again(town: Town) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hang(_: lying_registry.Request) -> None:
        asked.set()
        go_on.wait(150)

    town.origin.instead["/manifests/"] = hang
    process = await town.process()
    waiting = asyncio.ensure_future(process.get(V1))
    await asyncio.to_thread(asked.wait, 120)
    await process.services.pull_through.close()
    go_on.set()
    status, body = await waiting
    assert (status, b"is stopping" in body) == (503, True)


async def test_an_upstream_that_hangs_takes_nothing_from_another(town: Town) -> None:
    go_on = threading.Event()
    other = Origin()
    other.image(b"layer", "v1")
    town.origin.instead["/manifests/"] = lambda _: go_on.wait(150) and None
    with lying_registry.lying_registry(other.answer) as far:
        process = await town.process(replace(EACH_TIME, fetches=1))
        await add_upstream(process.services, SYSTEM, name="quick", url=far.url, inside=True)
        hanging = [asyncio.ensure_future(process.get(f"/v2/hub/team/{n}/manifests/v1")) for n in range(40)]
        try:
            async with asyncio.timeout(120):
                assert (await process.get("/v2/quick/team/app/manifests/v1"))[0] == 200
        finally:
            go_on.set()
            await asyncio.gather(*hanging)
