"""Nodes, database and store fail under load: nothing acknowledged is lost, errors are the predicted ones.

Clients write down what was acknowledged; afterwards everything must be there byte for byte, fsck must be
clean, and no client may have met anything but 503 with Retry-After from a node, the balancer's 502 for a node
that has just died, or a connection that broke; and, where the database crashes, an upload that begins again.
"""

import random
from collections.abc import Iterator

import pytest

from tests.faults.journal import GONE, Pusher, digest_of, expect, with_digest
from tests.integration.cluster.faultproxy import Fault
from tests.integration.cluster.faulty import Cluster, check, load, make, more_work
from tests.integration.cluster.nodes import ClusterWire, Hiccup
from tests.support.processes import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def cluster(seaweedfs_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with make(tmp_path_factory.mktemp("cluster"), seaweedfs_endpoint, count=2) as made:
        yield made


def test_killed_nodes_lose_nothing(cluster: Cluster) -> None:
    """C1, C2, C9 on several machines: every node is killed in turn while clients go on through the others."""
    with load(cluster, clients=4, seed=1) as faults:
        for node in cluster.nodes:
            more_work(cluster, faults)
            node.kill()
            more_work(cluster, faults)
            node.start()
    assert faults == []
    check(cluster)


def test_restarted_and_killed_database_loses_nothing(cluster: Cluster) -> None:
    """B2: an orderly restart, then a crash with recovery, under load."""
    with load(cluster, clients=4, seed=2, database_crashes=True) as faults:
        more_work(cluster, faults)
        cluster.database.restart()
        more_work(cluster, faults)
        cluster.database.kill()
        cluster.database.start()
        more_work(cluster, faults)
    assert faults == []
    check(cluster)


def test_failing_store_loses_nothing(cluster: Cluster) -> None:
    """S1: the store refuses, breaks connections and trickles; whoever waits or comes back succeeds."""
    with load(cluster, clients=4, seed=3) as faults:
        for fault in (Fault("503", 0.5), Fault("reset", 0.5), Fault("cut", 0.5), Fault("slow")):
            before = cluster.store.met
            with cluster.store.having(fault):
                wait_until(
                    lambda before=before: cluster.store.met > before, what="a fault to be met", timeout_s=120
                )
                more_work(cluster, faults, 3)
    assert faults == []
    check(cluster)


def test_store_that_is_gone_is_said_with_a_time_to_come_back(cluster: Cluster) -> None:
    """S1: 503 with Retry-After for pushes, /readyz says why; manifests are still read; then all is well."""
    pusher = Pusher(cluster.nodes[0].port, cluster.journal, 4001, repository="gone/app")
    pusher.push_image()
    wire = ClusterWire(cluster.nodes[0].port)
    with cluster.store.having(Fault("503")):
        begun = wire("POST", "/v2/gone/app/blobs/uploads/")
        with pytest.raises(Hiccup):
            wire("PUT", begun.headers["location"] + "?digest=sha256:" + "0" * 64, body=b"x" * 100_000)
        node = Wire(cluster.nodes[0].port)
        wait_until(lambda: "problems" in node("GET", "/readyz").json(), what="/readyz to say so")
        ready = node("GET", "/readyz")
        assert ready.status == 200, "no balancer may take every node away that still serves manifests"
        assert "store" in ready.json()["problems"]
        assert node("GET", "/readyz?for=pushes").status == 503
        assert wire("GET", "/v2/gone/app/manifests/t4001").status == 200
        cluster.nodes[0].stop()
        cluster.nodes[0].start()
        assert "DEGRADED" in cluster.nodes[0].log.read_text(errors="replace")
        wire.close()
        assert wire("GET", "/v2/gone/app/manifests/t4001").status == 200
    node = Wire(cluster.nodes[0].port)
    wait_until(lambda: node("GET", "/readyz?for=pushes").status == 200, what="the store to be back")
    pusher.push_image()
    check(cluster)


def test_a_clock_that_is_set_ends_no_lease_early(cluster: Cluster) -> None:
    """G7: the database's clock jumps a day ahead and two back under load, while everything is collected at
    once that no lease keeps."""
    with load(cluster, clients=4, seed=5) as faults:
        for number, jump_s in enumerate((86_400, -2 * 86_400), 1):
            more_work(cluster, faults)
            cluster.clock.jump(jump_s)
            wait_until(lambda number=number: steps_noted(cluster) >= number, what="a node to notice")
            more_work(cluster, faults)
    assert faults == []
    check(cluster)


def test_node_killed_in_the_middle_of_a_large_upload(cluster: Cluster) -> None:
    """S2: what was never completed in the store is no part of the upload; it goes on at another node."""
    first, other = cluster.nodes
    data = random.Random(9).randbytes(20 * 1024 * 1024)
    location = expect(Wire(first.port)("POST", "/v2/large/app/blobs/uploads/"), 202).headers["location"]

    def body() -> Iterator[bytes]:
        for start in range(0, len(data), 65536):
            if start == len(data) * 4 // 5:  # beyond the first part
                first.kill()
            yield data[start : start + 65536]

    with pytest.raises(GONE):
        Wire(first.port)("PATCH", location, body=body(), chunked=True)
    wire = Wire(other.port)
    told = expect(wire("GET", location), 204).headers["range"]
    at = int(told.partition("-")[2]) + 1 if told != "0-0" else 0
    expect(wire("PATCH", location, body=data[at:], headers={"content-range": f"{at}-{len(data) - 1}"}), 202)
    expect(wire("PUT", with_digest(location, digest_of(data))), 201)
    assert wire("GET", f"/v2/large/app/blobs/{digest_of(data)}").body == data
    first.start()
    check(cluster)


def steps_noted(cluster: Cluster) -> int:
    said = "the database's clock was set"
    return sum(node.log.read_text(errors="replace").count(said) for node in cluster.nodes)
