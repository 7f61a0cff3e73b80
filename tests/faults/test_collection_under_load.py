"""Garbage collection all the time, beside pushes, mounts, deletes and referrers (G1)."""

import os
import random
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.journal import OCI_MANIFEST, Journal, Pusher, Unexpected, digest_of, manifest_of
from tests.support.processes import wait_until
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.timeout(600)

ENV = {
    "ENTREPOT_GC_INTERVAL": "100ms",
    "ENTREPOT_GC_LEASE": "2s",
    "ENTREPOT_GC_UNDO_WINDOW": "0",
    "ENTREPOT_GC_TRASH_DELAY": "0",
    "ENTREPOT_GC_UNTAGGED": "true",
    "ENTREPOT_GC_UNTAGGED_AFTER": "0",
}


class Busy(Pusher):
    """Does everything that makes garbage, in its own repository, with layers that others have too."""

    def __init__(self, port: int, journal: Journal, seed: int, shared: list[bytes]) -> None:
        super().__init__(port, journal, seed, repository=f"busy/r{seed % 4}")
        self._shared = shared

    def work(self) -> None:
        kind = self._random.random()
        if kind < 0.5:
            self.push_shared()
        elif kind < 0.65:
            self.delete_tag()
        elif kind < 0.8:
            self.mount()
        elif kind < 0.9:
            self.push_image()
        else:
            self.forget_blob()

    def push_shared(self) -> None:
        """An image of layers that other repositories push and let go of as well."""
        blobs = [*self._random.sample(self._shared, 2), b"{}"]
        manifest = manifest_of(blobs)
        for _ in range(50):
            for blob in blobs:
                self.push_blob(blob)
            self._journal.about_to_tag(self._repository, self._tag, digest_of(manifest))
            path = f"/v2/{self._repository}/manifests/{self._tag}"
            answer = self.wire("PUT", path, body=manifest, headers={"content-type": OCI_MANIFEST})
            if answer.status == 201:
                # Untagged manifests go at once here, so only what the tag points to is owed.
                self._journal.tagged(self._repository, self._tag, manifest, [])
                self._journal.manifests.clear()
                return
            if answer.code != "MANIFEST_BLOB_UNKNOWN":
                raise Unexpected(f"PUT manifest: {answer}")
        raise Unexpected("blobs vanish before every manifest")

    def mount(self) -> None:
        """Ask for a blob of another repository, which may just be going."""
        blob = self._random.choice(self._shared)
        source = f"busy/r{self._random.randrange(4)}"
        query = f"mount={digest_of(blob)}&from={source}"
        answer = self.wire("POST", f"/v2/{self._repository}/blobs/uploads/?{query}")
        if answer.status == 202:
            self.wire("DELETE", answer.headers["location"])
        elif answer.status != 201:
            raise Unexpected(f"mount: {answer}")

    def forget_blob(self) -> None:
        """Push a blob that no manifest will ever name."""
        self.push_blob(self._random.randbytes(500))


def soak(folder: Path, *, operations: int, seconds: float, size: int, seed: int) -> int:
    """Work until both so many operations and seconds have passed; returns the number of operations."""
    shared = [random.Random(seed * 10 + number).randbytes(2000) for number in range(8)]
    journal, faults, stop = Journal(), list[BaseException](), threading.Event()
    with running_server(folder, env=ENV) as server:

        def run(number: int) -> None:
            worker = Busy(server.port, journal, number, shared)
            try:
                while not stop.is_set():
                    worker.work()
            except BaseException as error:
                faults.append(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(size)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        wait_until(
            lambda: faults or (journal.operations >= operations and time.monotonic() - began >= seconds),
            what="enough operations",
            timeout_s=max(120, seconds * 3),
        )
        stop.set()
        for thread in threads:
            thread.join(120)
        assert faults == []
        wait_until(lambda: runs_of(server, "gc") >= 2, what="collection to have run")
        check_tags(server, journal)
        assert server.fsck()["findings"] == []
    return journal.operations


def check_tags(server: RunningServer, journal: Journal) -> None:
    """Every tag is what it was last set to, and everything below it can be pulled."""
    wire = Pusher(server.port, journal, 0).wire
    for (repository, tag), allowed in journal.tags.items():
        answer = wire("GET", f"/v2/{repository}/manifests/{tag}", headers={"accept": OCI_MANIFEST})
        found = digest_of(answer.body) if answer.status == 200 else None
        assert found in allowed, f"{repository}:{tag} is {found}"
        for layer in answer.json()["layers"] if found else ():
            blob = wire("GET", f"/v2/{repository}/blobs/{layer['digest']}")
            assert digest_of(blob.body) == layer["digest"]


def runs_of(server: RunningServer, kind: str) -> int:
    with closing(sqlite3.connect(f"file:{server.data}/catalog.db?mode=ro", uri=True)) as catalog:
        query = "SELECT count(*) FROM job WHERE kind = ? AND state = 'done'"
        return int(catalog.execute(query, (kind,)).fetchone()[0])


def test_collection_beside_everything_else_loses_nothing(tmp_path: Path) -> None:
    """G1: no answer that the rules don't predict, fsck clean."""
    assert soak(tmp_path, operations=150, seconds=6, size=6, seed=1) >= 150


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_collection_beside_everything_else_for_long(tmp_path: Path) -> None:
    """G1, long form: half an hour, or what SOAK_SECONDS says."""
    seconds = float(os.environ.get("SOAK_SECONDS", "1800"))
    operations = soak(tmp_path, operations=10_000, seconds=seconds, size=32, seed=2)
    print(f"{operations} acknowledged operations, none lost")
