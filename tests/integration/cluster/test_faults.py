"""Nodes, database and store fail under load: nothing acknowledged is lost, errors are the predicted ones.

Clients write down what was acknowledged; afterwards everything must be there byte for byte, fsck must be
clean, and no client may have met anything but 503 with Retry-After from a node, the balancer's 502 for a node
that has just died, or a connection that broke; and, where the database crashes, an upload that begins again.
"""

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.journal import Journal, Pusher
from tests.integration.cluster.faultproxy import Fault, StoreProxy
from tests.integration.cluster.nodes import ClusterWire, Hiccup, Place, database, nginx, running_nodes
from tests.support.ports import free_port
from tests.support.postgresql import is_ready, make_cluster
from tests.support.processes import end, started, wait_until
from tests.support.server import RunningServer
from tests.support.shared import run_folder

pytestmark = pytest.mark.timeout(900)

BUSY = {
    "ENTREPOT_GC_INTERVAL": "500ms",
    "ENTREPOT_GC_LEASE": "20s",
    "ENTREPOT_GC_UNTAGGED": "true",
    "ENTREPOT_GC_TRASH_DELAY": "0",
}


class Database:
    """A PostgreSQL of this module's own, which may be killed."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.port = free_port()
        self._argv = make_cluster(folder, self.port)
        self._log = folder / "log"
        self._running = ExitStack()

    def start(self) -> None:
        self.process = self._running.enter_context(
            started(self._argv, log=self._log, ready=lambda: is_ready(self.port), cwd=Path("/"))
        )

    def kill(self) -> None:
        """SIGKILL to every process of it at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        self._running.close()

    def restart(self) -> None:
        """As an administrator does: sessions are ended, the server stops and starts."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(120)
        self._running.close()
        self.start()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            end(self.process)
        self._running.close()


@dataclass
class Cluster:
    """Everything a fault may hit."""

    nodes: list[RunningServer]
    database: Database
    store: StoreProxy
    port: int
    journal: Journal = field(default_factory=Journal)
    hiccups: int = 0


@pytest.fixture(scope="module")
def cluster(seaweedfs_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with make(tmp_path_factory.mktemp("cluster"), seaweedfs_endpoint, count=2) as made:
        yield made


@contextmanager
def make(folder: Path, endpoint: str, *, count: int) -> Iterator[Cluster]:
    with ExitStack() as until_end:
        # PostgreSQL runs under its own account, which may not look into pytest's folders.
        own = Database(Path(tempfile.mkdtemp(prefix="postgresql-", dir=run_folder())))
        own.start()
        until_end.callback(own.close)
        store = StoreProxy(endpoint)
        until_end.callback(store.close)
        url = until_end.enter_context(database(own.port))
        place = Place(url, store.endpoint)
        nodes = until_end.enter_context(running_nodes(folder, place, count, env=BUSY))
        port = until_end.enter_context(nginx(folder / "nginx", nodes))
        yield Cluster(nodes, own, store, port)


@contextmanager
def load(
    cluster: Cluster, *, clients: int, seed: int, database_crashes: bool = False
) -> Iterator[list[BaseException]]:
    """Clients that push, move and delete tags through the balancer until the block ends."""
    stop, faults = threading.Event(), list[BaseException]()

    def run(number: int) -> None:
        pusher = Pusher(cluster.port, cluster.journal, number, repository=f"load/r{number % 3}")
        pusher.wire = wire = ClusterWire(cluster.port)
        wire.may_forget_uploads = database_crashes
        while not stop.is_set():
            try:
                pusher.work()
            except Hiccup:
                cluster.hiccups += 1
                pusher.wire.close()
                stop.wait(0.1)
            except OSError:
                pusher.wire.close()
                stop.wait(0.1)
            except BaseException as error:
                if type(error).__module__.startswith("http.client"):
                    pusher.wire.close()  # the node died in the middle of an answer
                    continue
                faults.append(error)
                return

    threads = [threading.Thread(target=run, args=(seed * 100 + number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield faults
    finally:
        stop.set()
        for thread in threads:
            thread.join(300)
            assert not thread.is_alive()


def more_work(cluster: Cluster, faults: list[BaseException], count: int = 6) -> None:
    """Wait until so many more operations were acknowledged."""
    wanted = cluster.journal.operations + count
    wait_until(
        lambda: faults or cluster.journal.operations >= wanted, what="acknowledged pushes", timeout_s=240
    )
    assert faults == []


def check(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.wait_ready()
        assert cluster.journal.lost(node.port) == []
    report = cluster.nodes[0].fsck()
    assert report["findings"] == []


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
        ready = ClusterWire.__mro__[1](cluster.nodes[0].port)("GET", "/readyz")
        assert ready.status == 503
        assert "store" in ready.json()["problems"]
        assert wire("GET", "/v2/gone/app/manifests/t4001").status == 200
    cluster.nodes[0].wait_ready()
    pusher.push_image()
    check(cluster)


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_everything_fails_for_long(seaweedfs_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Three nodes behind a balancer, 16 clients; a random fault after every few operations."""
    seconds, seed = float(os.environ.get("SOAK_SECONDS", "1800")), int(os.environ.get("SOAK_SEED", "1"))
    rng, counts = random.Random(seed), dict[str, int]()
    with make(tmp_path_factory.mktemp("soak"), seaweedfs_endpoint, count=3) as cluster:
        over = time.monotonic() + seconds
        with load(cluster, clients=16, seed=seed, database_crashes=True) as faults:
            while time.monotonic() < over:
                more_work(cluster, faults, rng.randint(20, 200))
                what = rng.choice(["node", "database", "restart", "503", "reset", "cut", "slow"])
                counts[what] = counts.get(what, 0) + 1
                if what == "node":
                    node = rng.choice(cluster.nodes)
                    node.kill()
                    more_work(cluster, faults, 10)
                    node.start()
                elif what == "database":
                    cluster.database.kill()
                    cluster.database.start()
                elif what == "restart":
                    cluster.database.restart()
                else:
                    with cluster.store.having(Fault(what, rng.choice([0.2, 0.5]))):  # type: ignore[arg-type]
                        more_work(cluster, faults, 20)
        assert faults == []
        check(cluster)
        print(f"seed {seed}: {cluster.journal.operations} acknowledged operations, lost 0, faults {counts}")
