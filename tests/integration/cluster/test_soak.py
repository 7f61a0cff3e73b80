"""The long form: everything fails at random, for as long as SOAK_SECONDS says, from the seed SOAK_SEED.

`docs/reliability.md` has the table of the last run.
"""

import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from tests.faults.journal import expect, with_digest
from tests.integration.cluster.faultproxy import Fault
from tests.integration.cluster.faulty import Cluster, check, load, make_distant, more_work
from tests.integration.cluster.network import DistantNode
from tests.integration.cluster.nodes import Place, running_node
from tests.support.wire import Wire

pytestmark = [pytest.mark.soak, pytest.mark.timeout(14_400)]
MIB = 1024 * 1024


@dataclass
class Havoc:
    """Makes one fault after another."""

    cluster: Cluster
    rng: random.Random
    go_on: Callable[[int], None]
    """Waits until so many more operations were acknowledged."""

    def node(self) -> DistantNode:
        chosen = self.rng.choice(self.cluster.nodes)
        assert isinstance(chosen, DistantNode)
        return chosen

    def node_killed(self) -> None:
        node = self.node()
        node.kill()
        self.go_on(10)
        node.start()

    def node_restarted(self) -> None:
        self.node().restart()

    def database_killed(self) -> None:
        self.cluster.database.kill()
        self.cluster.database.start()

    def database_restarted(self) -> None:
        self.cluster.database.restart()

    def clock_set(self) -> None:
        self.cluster.clock.jump(self.rng.choice([-3, -1, 1, 3]) * self.rng.choice([3600, 86_400]))

    def network_cut(self) -> None:
        self._cut(None)

    def cut_from_database(self) -> None:
        self._cut(self.cluster.database.port)

    def cut_from_store(self) -> None:
        self._cut(self.cluster.store.port)

    def _cut(self, port: int | None) -> None:
        cable = self.node().cable
        cable.cut(port)
        try:
            self.go_on(self.rng.randint(5, 40))
        finally:
            cable.mend()

    def store_busy(self) -> None:
        self._store("503")

    def store_resets(self) -> None:
        self._store("reset")

    def store_cuts(self) -> None:
        self._store("cut")

    def store_slow(self) -> None:
        self._store("slow")

    def _store(self, kind: str) -> None:
        fault: AbstractContextManager[None] = self.cluster.store.having(
            Fault(kind, self.rng.choice([0.2, 0.5]))  # type: ignore[arg-type]
        )
        with fault:
            self.go_on(20)


FAULTS = [name for name, made in vars(Havoc).items() if callable(made) and not name.startswith("_")]
FAULTS.remove("node")


def test_everything_fails_for_long(seaweedfs_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Three nodes behind HAProxy, 16 clients; a random fault after every few operations."""
    seconds, seed = float(os.environ.get("SOAK_SECONDS", "1800")), int(os.environ.get("SOAK_SEED", "1"))
    rng, counts = random.Random(seed), Counter[str]()
    with make_distant(tmp_path_factory.mktemp("soak"), seaweedfs_endpoint, count=3) as cluster:
        over = time.monotonic() + seconds
        with load(cluster, clients=16, seed=seed, database_crashes=True, patience_s=30) as faults:
            havoc = Havoc(cluster, rng, lambda count: more_work(cluster, faults, count))
            while time.monotonic() < over:
                more_work(cluster, faults, rng.randint(20, 100))
                what = rng.choice(FAULTS)
                print(f"{time.strftime('%H:%M:%S')} {cluster.journal.operations} {what}", flush=True)
                getattr(havoc, what)()
                counts[what] += 1
            more_work(cluster, faults, 20)
        assert faults == []
        check(cluster)
        journal = cluster.journal
        print(
            f"seed {seed}, {seconds:.0f} s: {journal.operations} acknowledged operations, lost 0, fsck clean"
        )
        print(f"{len(journal.manifests)} manifests and {len(journal.layers)} blobs read back from each node")
        print(f"{sum(counts.values())} faults: {dict(sorted(counts.items()))}")


def test_layer_of_more_than_ten_gigabytes(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    """U10: 10.5 GiB in 2,100 requests of 5 MiB, joined into one object of as many parts, read back whole."""
    piece, count = 5 * MIB, int(os.environ.get("SOAK_PIECES", "2100"))
    pattern = random.Random(1).randbytes(piece - 8)
    env = {"ENTREPOT_STORAGE_PART_BYTES": "5MiB"}
    hasher = hashlib.sha256()
    with running_node(tmp_path_factory.mktemp("large"), place, env=env) as node:
        wire = Wire(node.port, patience_s=3600)
        location = expect(wire("POST", "/v2/large/app/blobs/uploads/"), 202).headers["location"]
        for number in range(count):
            data = number.to_bytes(8, "big") + pattern
            hasher.update(data)
            start = number * piece
            headers = {"content-range": f"{start}-{start + piece - 1}"}
            expect(wire("PATCH", location, body=data, headers=headers), 202)
        digest = f"sha256:{hasher.hexdigest()}"
        expect(wire("PUT", with_digest(location, digest)), 201)
        again = hashlib.sha256()
        for start in range(0, count * piece, 64 * MIB):
            part = {"range": f"bytes={start}-{min(start + 64 * MIB, count * piece) - 1}"}
            again.update(expect(wire("GET", f"/v2/large/app/blobs/{digest}", headers=part), 206).body)
        assert again.digest() == hasher.digest()
        assert node.fsck()["findings"] == []
