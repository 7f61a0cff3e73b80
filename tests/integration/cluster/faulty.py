"""A whole cluster that faults may hit: nodes behind a balancer, PostgreSQL, a store, and clients that keep a
journal of what was acknowledged.
"""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.journal import Journal, Pusher
from tests.faults.tracing import children, is_dead
from tests.integration.cluster.faultproxy import StoreProxy
from tests.integration.cluster.network import NETWORK, DistantNode, cable, distant_node
from tests.integration.cluster.nodes import (
    ClusterWire,
    HaProxy,
    Hiccup,
    Place,
    database,
    haproxy,
    nginx,
    running_nodes,
)
from tests.support.ports import free_port
from tests.support.postgresql import JumpingClock, is_ready, make_cluster
from tests.support.processes import end, started, wait_until
from tests.support.server import RunningServer
from tests.support.shared import run_folder

BUSY = {
    "ENTREPOT_GC_INTERVAL": "500ms",
    "ENTREPOT_GC_LEASE": "20s",
    "ENTREPOT_GC_UNTAGGED": "true",
    "ENTREPOT_GC_TRASH_DELAY": "0",
}


class Database:
    """A PostgreSQL of this module's own, which may be killed. Nodes in other namespaces may use it too."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.port = free_port()
        self._argv = [*make_cluster(folder, self.port), "-clisten_addresses=*"]
        with (folder / "cluster" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NETWORK} trust\n")
        self._log = folder / "log"
        self._running = ExitStack()

    def start(self) -> None:
        self.process = self._running.enter_context(
            started(self._argv, log=self._log, ready=lambda: is_ready(self.port), cwd=Path("/"))
        )

    def kill(self) -> None:
        """SIGKILL to every process of it at once."""
        # Each of its processes leads a group of its own. One that outlives the others keeps the next from
        # starting.
        sessions = children(self.process.pid)
        for pid in (self.process.pid, *sessions):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)
        wait_until(lambda: all(map(is_dead, sessions)), what="PostgreSQL's processes to be gone")
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
    clock: JumpingClock
    """The database's."""
    port: int
    """The balancer's."""
    balancer: HaProxy | None = None
    """Of nodes that are distant."""
    journal: Journal = field(default_factory=Journal)
    hiccups: int = 0


@contextmanager
def parts(endpoint: str) -> Iterator[tuple[Database, StoreProxy, Place, JumpingClock]]:
    """Database and store."""
    with ExitStack() as until_end:
        # PostgreSQL runs under its own account, which may not look into pytest's folders.
        own = Database(Path(tempfile.mkdtemp(prefix="postgresql-", dir=run_folder())))
        own.start()
        until_end.callback(own.close)
        store = StoreProxy(endpoint)
        until_end.callback(store.close)
        url = until_end.enter_context(database(own.port))
        yield own, store, Place(url, store.endpoint), JumpingClock(url)


@contextmanager
def make(folder: Path, endpoint: str, *, count: int) -> Iterator[Cluster]:
    """Nodes on this machine behind nginx."""
    with ExitStack() as until_end:
        own, store, place, clock = until_end.enter_context(parts(endpoint))
        nodes = until_end.enter_context(running_nodes(folder, place, count, env=BUSY))
        port = until_end.enter_context(nginx(folder / "nginx", nodes))
        yield Cluster(nodes, own, store, clock, port)


@contextmanager
def make_distant(folder: Path, endpoint: str, *, count: int) -> Iterator[Cluster]:
    """Nodes in network namespaces of their own behind HAProxy; every cable can be cut. Needs root."""
    with ExitStack() as until_end:
        own, store, place, clock = until_end.enter_context(parts(endpoint))
        nodes = list[RunningServer]()
        for number in range(count):
            link = until_end.enter_context(cable(number))
            seen = replace(
                place,
                catalog=place.catalog.replace("127.0.0.1", link.gateway),
                endpoint=place.endpoint.replace("127.0.0.1", link.gateway),
            )
            node = distant_node(folder / f"node{number}", free_port(), link, {**seen.env, **BUSY})
            until_end.callback(_end, node)
            node.start()
            nodes.append(node)
        balancer = until_end.enter_context(haproxy(folder / "haproxy", nodes))
        yield Cluster(nodes, own, store, clock, balancer.port, balancer)


def _end(node: DistantNode) -> None:
    node.cable.mend()
    if node.process is not None:
        end(node.process)


@contextmanager
def load(
    cluster: Cluster, *, clients: int, seed: int, database_crashes: bool = False, patience_s: float = 120
) -> Iterator[list[BaseException]]:
    """Clients that push, move and delete tags through the balancer until the block ends."""
    stop, faults = threading.Event(), list[BaseException]()

    def run(number: int) -> None:
        pusher = Pusher(cluster.port, cluster.journal, number, repository=f"load/r{number % 3}")
        pusher.wire = wire = ClusterWire(cluster.port, patience_s=patience_s)
        wire.may_forget_uploads = database_crashes
        while not stop.is_set():
            try:
                pusher.work()
            except (Hiccup, OSError) as error:
                cluster.hiccups += isinstance(error, Hiccup)
                pusher.wire.close()
                if isinstance(error, TimeoutError):
                    pusher.leave_tag()
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
        lambda: faults or cluster.journal.operations >= wanted, what="acknowledged pushes", timeout_s=480
    )
    assert faults == []


def check(cluster: Cluster) -> None:
    """Everything acknowledged is there on every node, and fsck finds nothing."""
    for node in cluster.nodes:
        node.wait_ready()
    with ThreadPoolExecutor() as at_once:
        lost = at_once.map(lambda node: cluster.journal.lost(node.port, host=node.ip), cluster.nodes)
        assert list(lost) == [[] for _ in cluster.nodes]
    report = cluster.nodes[0].fsck()
    assert report["findings"] == []
