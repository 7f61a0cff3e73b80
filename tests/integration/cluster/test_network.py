"""N1: the network between nodes, balancer, database and store is cut; packets are lost without a word."""

from collections.abc import Iterator

import pytest

from tests.faults.journal import Pusher
from tests.integration.cluster.faulty import Cluster, check, load, make_distant, more_work
from tests.integration.cluster.network import DistantNode
from tests.integration.cluster.nodes import ClusterWire, Hiccup
from tests.support.processes import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(900)
PATIENCE_S = 15
"""After which a client that hears nothing tries again, with whatever node the balancer thinks alive."""


@pytest.fixture(scope="module")
def distant(seaweedfs_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes in network namespaces of their own, behind HAProxy."""
    with make_distant(tmp_path_factory.mktemp("distant"), seaweedfs_endpoint, count=3) as made:
        yield made


def nodes_of(cluster: Cluster) -> list[DistantNode]:
    return [node for node in cluster.nodes if isinstance(node, DistantNode)]


def wait_seen(cluster: Cluster, number: int, status: str) -> None:
    balancer = cluster.balancer
    assert balancer is not None
    wait_until(lambda: balancer.server(number + 1)["status"] == status, what=f"node {number} to be {status}")


def test_a_store_that_all_are_cut_from_takes_no_pulls_down(distant: Cluster) -> None:
    """S1, N1: every node is out as far as pushes go, and the balancer still sends pulls."""
    Pusher(distant.port, distant.journal, 9101, repository="pulled/app").push_image()
    nodes, wire = nodes_of(distant), Wire(distant.port)
    for node in nodes:
        node.cable.cut(distant.store.port)
    for number in range(len(nodes)):
        wait_seen(distant, number, "DOWN")
    assert wire("GET", "/v2/pulled/app/manifests/t9101").status == 200
    for node in nodes:
        node.cable.mend()
    for number in range(len(nodes)):
        wait_seen(distant, number, "UP")
    check(distant)


def test_nodes_that_are_cut_off_are_missed_by_nobody(distant: Cluster) -> None:
    """A node without network, then one without its database beside one without the store: the rest goes on,
    nobody says what is not so, and each comes back by itself."""
    first, second, third = nodes_of(distant)
    with load(distant, clients=4, seed=7, patience_s=PATIENCE_S) as faults:
        more_work(distant, faults)
        first.cable.cut()
        wait_seen(distant, 0, "DOWN")
        more_work(distant, faults)
        first.cable.mend()
        wait_seen(distant, 0, "UP")
        second.cable.cut(distant.database.port)
        third.cable.cut(distant.store.port)
        wait_seen(distant, 1, "DOWN")
        wait_seen(distant, 2, "DOWN")
        more_work(distant, faults)
        assert "catalog" in Wire(second.port, host=second.ip)("GET", "/readyz").json()["problems"]
        with pytest.raises(Hiccup):  # 503 with a time to come back, not silence
            ClusterWire(second.port, host=second.ip, patience_s=60)("GET", "/v2/load/r1/tags/list")
        assert "store" in Wire(third.port, host=third.ip)("GET", "/readyz").json()["problems"]
        answer = Wire(third.port, host=third.ip)("GET", "/v2/load/r1/tags/list")
        assert answer.status in {200, 404}  # the database has all of it
        second.cable.mend()
        third.cable.mend()
        wait_seen(distant, 1, "UP")
        wait_seen(distant, 2, "UP")
        more_work(distant, faults)
    assert faults == []
    check(distant)
