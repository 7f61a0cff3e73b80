"""Two nodes on one PostgreSQL and one object store: either of them is the registry."""

import base64
import json
import random
import re
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.journal import OCI_MANIFEST, Journal, Pusher, digest_of, expect, with_digest
from tests.integration.accounts.setup import setup_token
from tests.integration.cluster.nodes import Place, database, nginx, node_for_later, running_node
from tests.support.distribution import WireRepository
from tests.support.processes import wait_until
from tests.support.server import RunningServer
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def pair(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningServer]]:
    """The first streams downloads, the second sends clients to the store."""
    folder = tmp_path_factory.mktemp("pair")
    redirecting = {"ENTREPOT_STORAGE_REDIRECT": "true"}
    with (
        running_node(folder / "first", place) as first,
        running_node(folder / "second", place, env=redirecting) as second,
    ):
        yield [first, second]


def test_nodes_that_start_together_on_nothing_are_one_registry(
    postgresql_port: int, seaweedfs_endpoint: str, tmp_path: Path
) -> None:
    """B3: one schema, one identity, one admin; each shows a set-up link that works until one was used."""
    env = {"ENTREPOT_ACCESS_MODE": "accounts", "ENTREPOT_ACCESS_SECRET_FILE": str(tmp_path / "access.key")}
    with database(postgresql_port) as url, ExitStack() as until_end:
        place = Place(url, seaweedfs_endpoint)
        nodes = [
            until_end.enter_context(node_for_later(tmp_path / f"node{number}", place, env=env))
            for number in range(3)
        ]
        for node in nodes:
            node.start(wait=False)
        for node in nodes:
            node.wait_ready()
        links = [Wire(node.port)("GET", f"/setup?token={setup_token(node.log)}") for node in nodes]
        assert [answer.status for answer in links] == [200, 200, 200]
        token = nodes[0].admin("token", "create", "admin").stdout.split()[-1]
        sign = {"authorization": "Basic " + base64.b64encode(f"admin:{token}".encode()).decode()}
        wires = [WireRepository(Wire(node.port, headers=sign), "first/app") for node in nodes]
        data = b"begun on one, finished on another"
        begun = [expect(wire("POST", "blobs/uploads/"), 202).headers["location"] for wire in wires]
        for number, location in enumerate(begun):
            other = wires[(number + 1) % 3].wire
            expect(other("PUT", with_digest(location, digest_of(data)), body=data), 201)


def test_an_upload_begun_on_one_node_goes_on_on_the_others(pair: list[RunningServer]) -> None:
    data = random.Random(1).randbytes(300_000)
    wires = [Wire(node.port) for node in pair]
    location = expect(wires[0]("POST", "/v2/moves/app/blobs/uploads/"), 202).headers["location"]
    path = "/" + location.split("/", 3)[3] if location.startswith("http") else location
    for number, (start, end) in enumerate(pairwise([0, 100_000, 200_000, len(data)])):
        wire = wires[(number + 1) % 2]
        status = expect(wire("GET", path), 204)
        assert status.headers["range"] == f"0-{max(start - 1, 0)}"
        headers = {"content-range": f"{start}-{end - 1}"}
        expect(wire("PATCH", path, body=data[start:end], headers=headers), 202)
    expect(wires[0]("PUT", with_digest(path, digest_of(data))), 201)
    assert wires[0]("GET", f"/v2/moves/app/blobs/{digest_of(data)}").body == data


def test_a_delete_is_seen_by_every_node_at_once(pair: list[RunningServer]) -> None:
    one, other = (WireRepository(Wire(node.port), "gone/app") for node in pair)
    for number in range(10):
        raw = one.put_image(f"v{number}")
        assert other("GET", f"manifests/v{number}").body == raw
        expect(other("DELETE", f"manifests/v{number}"), 202)
        assert one("GET", f"manifests/v{number}").status == 404
        one, other = other, one


def test_one_node_sends_clients_to_the_store_and_the_other_does_not(pair: list[RunningServer]) -> None:
    data = random.Random(2).randbytes(200_000)
    streaming, redirecting = (WireRepository(Wire(node.port), "sent/app") for node in pair)
    path = f"blobs/{streaming.push(data)}"
    assert streaming("GET", path).body == data
    sent = expect(redirecting("GET", path), 307)
    assert sent.body == b""
    assert fetch(sent.headers["location"]) == data
    part = {"Range": "bytes=1000-1999"}
    assert expect(streaming("GET", path, headers=part), 206).body == data[1000:2000]
    ranged = expect(redirecting("GET", path, headers=part), 307)
    assert fetch(ranged.headers["location"], part) == data[1000:2000]
    assert redirecting("GET", path, headers={"Range": "bytes=900000-"}).status == 416
    assert redirecting("HEAD", path).headers["content-length"] == str(len(data))


INSIDE, OUTSIDE = {"X-Forwarded-For": "198.51.100.9"}, {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture(scope="module")
def choosy(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A node that sends clients of one network to the store, keeps what others read, and collects at once."""
    env = {
        "ENTREPOT_STORAGE_REDIRECT": "true",
        "ENTREPOT_STORAGE_REDIRECT_NETWORKS": "198.51.100.0/24, 10.0.0.0/8",
        "ENTREPOT_STORAGE_REDIRECT_EXCEPT": "10.1.0.0/16",
        "ENTREPOT_STORAGE_REDIRECT_EXPIRES": "300s",
        "ENTREPOT_STORAGE_CACHE": "1MiB",
        "ENTREPOT_GC_TRASH_DELAY": "0",
        "ENTREPOT_GC_LEASE": "0",
        "ENTREPOT_GC_UNDO_WINDOW": "0",
        "ENTREPOT_SERVER_JOBS": "false",
    }
    with running_node(tmp_path_factory.mktemp("choosy"), place, env=env) as node:
        yield node


def test_clients_are_sent_to_the_store_by_their_network(choosy: RunningServer) -> None:
    """As the balancer tells it."""
    data = random.Random(3).randbytes(50_000)
    repository = WireRepository(Wire(choosy.port), "sent/some")
    path = f"blobs/{repository.push(data)}"
    for client in ("203.0.113.7", "10.1.2.3"):
        assert expect(repository("GET", path, headers={"X-Forwarded-For": client}), 200).body == data
    for client in ("198.51.100.9", "10.2.0.1"):
        sent = expect(repository("GET", path, headers={"X-Forwarded-For": client}), 307)
        assert fetch(sent.headers["location"]) == data


def test_signed_url_outlives_the_delete_for_as_long_as_it_works(choosy: RunningServer) -> None:
    """G5: a client that was sent to the store before a delete finishes there, whatever collection does."""
    data = random.Random(4).randbytes(50_000)
    repository = WireRepository(Wire(choosy.port), "sent/deleted")
    path = f"blobs/{repository.push(data)}"
    url = expect(repository("GET", path, headers=INSIDE), 307).headers["location"]
    expect(repository("DELETE", path), 202)
    removed = json.loads(choosy.admin("gc", "--json").stdout)["removed"]  # and unlinks what is due
    assert removed["blob"] >= 1
    repository.wire.close()
    assert repository("GET", path).status == 404
    assert fetch(url) == data


def test_a_cache_on_the_nodes_disk_needs_no_store_and_keeps_its_size(choosy: RunningServer) -> None:
    repository = WireRepository(Wire(choosy.port), "kept/app")
    blobs = [random.Random(seed).randbytes(200_000) for seed in range(8)]
    paths = [f"blobs/{repository.push(data)}" for data in blobs]
    part = {**OUTSIDE, "Range": "bytes=10-19"}
    for path, data in zip(paths, blobs, strict=True):
        assert repository("GET", path, headers=OUTSIDE).body == data
        assert repository("GET", path, headers=part).body == data[10:20]
        assert sum(file.stat().st_size for file in (choosy.data / "cache").iterdir()) <= 1024 * 1024

    def hits() -> int:
        text = repository("GET", "/metrics").body.decode()
        return sum(map(int, re.findall(r'entrepot_cache_reads_total\{found="hit"\} (\d+)', text)))

    wait_until(lambda: hits() >= len(blobs), what="a hit for each part")
    expect(repository("DELETE", paths[-1]), 202)
    assert repository("GET", paths[-1], headers=OUTSIDE).status == 404


def fetch(url: str, headers: dict[str, str] | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=60) as answer:
        return bytes(answer.read())


def test_nodes_and_their_health_are_known(pair: list[RunningServer]) -> None:
    def listed() -> list[dict[str, object]]:
        return list(json.loads(pair[0].admin("nodes", "--json", check=False).stdout))

    def both() -> bool:
        roles = [node["role"] for node in listed() if node["state"] == "alive"]
        return roles.count("serve") >= 2 and roles.count("jobs") == 2

    wait_until(both, what="two nodes")

    def figures() -> str:
        return Wire(pair[0].port)("GET", "/metrics").body.decode()

    wait_until(
        lambda: re.search(r'entrepot_nodes\{role="serve",state="alive"\} [23]\b', figures()),
        what="figures of the nodes",
    )
    text = figures()
    assert re.search(r'entrepot_node_healthy\{node="[^"]+",role="serve"\} 1', text)
    assert 'entrepot_part_up{part="catalog"} 1' in text
    assert 'entrepot_part_up{part="store"} 1' in text


def test_a_balancer_needs_nothing_but_the_example(pair: list[RunningServer], tmp_path: Path) -> None:
    """Uploads in pieces go to a different node each time; locations lead back through the balancer."""
    with nginx(tmp_path / "nginx", pair) as port:
        journal = Journal()
        pushers = [Pusher(port, journal, seed, repository="balanced/app") for seed in range(4)]
        for pusher in pushers:
            pusher.push_image()
        streaming = Wire(pair[0].port)
        for (repository, tag), digests in journal.tags.items():
            path = f"/v2/{repository}/manifests/{tag}"
            assert digest_of(streaming("GET", path, headers={"accept": OCI_MANIFEST}).body) in digests
        begun = Wire(port)("POST", "/v2/balanced/app/blobs/uploads/", headers={"host": f"localhost:{port}"})
        assert begun.headers["location"].startswith(("/", f"http://localhost:{port}/"))
        assert Wire(port)("GET", "/metrics").status == 404
