"""SIGKILL at random moments and at every step: what was acknowledged stays (C1-C3, C5-C7, C9, B1)."""

import json
import os
import random
import re
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.faults.journal import (
    GONE,
    OCI_MANIFEST,
    Crew,
    Journal,
    Pusher,
    digest_of,
    expect,
    manifest_of,
    with_digest,
)
from tests.faults.tracing import children, is_dead, jobs_process, traced, workers
from tests.support.processes import wait_until
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(600)

BUSY_GC = {
    "ENTREPOT_GC_INTERVAL": "200ms",
    "ENTREPOT_GC_TRASH_DELAY": "0",
    "ENTREPOT_GC_LEASE": "1s",
}


def check_nothing_lost(server: RunningServer, journal: Journal) -> None:
    assert journal.lost(server.port) == []
    report = server.fsck()
    assert report["findings"] == []


def kill_and_compare(
    folder: Path, *, seed: int, rounds: int, operations: int, env: dict[str, str]
) -> Journal:
    """Kill everything after a random number of operations, again and again; nothing may be missing."""
    rng, journal = random.Random(seed), Journal()
    with running_server(folder, env=env) as server:
        for turn in range(rounds):
            wanted = journal.operations + rng.randint(1, operations)
            with Crew(server.port, journal, size=4, seed=seed * 100 + turn) as crew:
                wait_until(lambda wanted=wanted: journal.operations >= wanted or crew.faults, what="pushes")
                server.kill()
                crew.stop.set()
            assert crew.faults == []
            server.start()
            check_nothing_lost(server, journal)
    return journal


def test_kill_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    """C1, C2: every process dies at once in the middle of pushes, overwrites and deletes."""
    journal = kill_and_compare(tmp_path, seed=1, rounds=2, operations=30, env={})
    assert journal.operations


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(2, 22))
def test_kill_at_many_random_moments_loses_nothing(tmp_path: Path, seed: int) -> None:
    """C1, C2, C3, long form: with garbage collection all the time."""
    kill_and_compare(tmp_path, seed=seed, rounds=25, operations=60, env=BUSY_GC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("kill"), workers=1) as running:
        yield running


def replaced_worker(server: RunningServer, pid: int) -> None:
    """Wait until the worker `pid` is gone and another one answers."""
    assert server.process is not None
    supervisor = server.process.pid
    wait_until(lambda: pid not in children(supervisor), what="the worker's end")
    wait_until(lambda: len(children(supervisor)) >= 2, what="another worker")
    server.wait_ready()


STEPS = [
    "pwritev2:signal=SIGKILL:when=1",  # bytes of the upload
    "fsync:signal=SIGKILL:when=1",  # its file
    "rename:signal=SIGKILL:when=2",  # its name
    "fsync:signal=SIGKILL:when=2",  # its directory
    "pwrite64:signal=SIGKILL:when=1",  # the catalog's log: the row of the upload
    "pwrite64:signal=SIGKILL:when=20",
    "fdatasync:signal=SIGKILL:when=1",  # the first durable commit: the blob
    "fdatasync:signal=SIGKILL:when=2",  # later ones: another blob, the manifest with its tag and event
    "fdatasync:signal=SIGKILL:when=4",
]


def test_kill_at_each_step_of_a_push(tmp_path: Path) -> None:
    """C1, C2: the worker dies at that system call; the client pushes again, and all is there."""
    journal = Journal()
    with running_server(tmp_path, workers=1) as server:
        for number, fault in enumerate(STEPS):
            if number % 3 == 2:
                server.restart()  # or the supervisor waits longer and longer before it replaces a worker
            kill_at(server, fault, journal, seed=number, log=tmp_path / f"strace-{number}")
        check_nothing_lost(server, journal)


def kill_at(server: RunningServer, fault: str, journal: Journal, *, seed: int, log: Path) -> None:
    """Push until the worker is killed by `fault`, then push again."""
    pusher = Pusher(server.port, journal, seed, repository=f"steps/r{seed}")
    pusher.push_image()
    (worker,) = workers(server)
    call = fault.partition(":")[0]
    with traced(worker, "-e", f"trace={call}", "-e", f"inject={fault}", log=log), suppress(*GONE):
        for _ in range(50):
            pusher.push_image()
    assert is_dead(worker)
    pusher.wire.close()
    replaced_worker(server, worker)
    pusher.push_image()
    assert journal.lost(server.port) == []


@pytest.mark.parametrize("sent", ["whole", "in pieces"])
def test_durable_before_it_is_acknowledged(server: RunningServer, tmp_path: Path, sent: str) -> None:
    """C5: file, name, directory and catalog are synced, in this order, before the client hears 201.

    A small blob that comes whole is written under its own name, which no row tells before both are synced.
    """
    wire, data = Wire(server.port), random.Random(sent).randbytes(5000)
    location = expect(wire("POST", "/v2/order/app/blobs/uploads/"), 202).headers["location"]
    if sent == "in pieces":
        location = expect(wire("PATCH", location, body=data), 202).headers["location"]
    (worker,) = workers(server)
    log = tmp_path / "strace"
    with traced(worker, "-e", "trace=fsync,fdatasync,rename,sendto,write,writev,sendmsg", log=log):
        body = data if sent == "whole" else b""
        expect(wire("PUT", with_digest(location, digest_of(data)), body=body), 201)
    name = digest_of(data).removeprefix("sha256:")
    shard = f"/blobs/sha256/{name[:2]}"
    source = "/uploads/" if sent == "in pieces" else f"{shard}/{name}"
    steps = {
        "file": rf"fsync\(\d+<[^>]*{source}[^>]*>",
        "name": rf'rename\("[^"]*{source}[^"]*", "[^"]*{name}',
        "directory": rf"fsync\(\d+<[^>]*{shard}>",
        "catalog": r"fdatasync\(\d+<[^>]*catalog\.db-wal>",
        "answer": r"(?:sendto|write|writev|sendmsg)\(\d+<(?:TCP|socket).*201 Created",
    }
    if sent == "whole":
        del steps["name"]
    lines = log.read_text().splitlines()
    found = {
        step: [at for at, line in enumerate(lines) if re.search(regex, line)] for step, regex in steps.items()
    }
    assert all(found.values()), found
    order = [found[step][-1 if step in {"directory", "catalog"} else 0] for step in steps]
    assert order == sorted(order)


def test_failing_fsync_fails_the_push_and_nothing_else(server: RunningServer, tmp_path: Path) -> None:
    """C6: no retry of fsync, no file left; the next push works."""
    wire, data = Wire(server.port), random.Random(6).randbytes(5000)
    location = expect(wire("POST", "/v2/eio/app/blobs/uploads/"), 202).headers["location"]
    expect(wire("PATCH", location, body=data), 202)
    (worker,) = workers(server)
    uploads = server.data / "uploads"
    before = set(uploads.iterdir())
    with traced(worker, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", log=tmp_path / "strace"):
        answer = wire("PUT", with_digest(location, digest_of(data)))
    assert answer.status == 503
    assert "retry-after" in answer.headers
    assert len(set(uploads.iterdir())) == len(before) - 1
    assert (tmp_path / "strace").read_text().count("/uploads/") == 1
    Pusher(server.port, Journal(), 6, repository="eio/app").push_blob(data)
    assert wire("GET", f"/v2/eio/app/blobs/{digest_of(data)}").body == data


def test_database_that_cannot_sync_ends_its_process(server: RunningServer, tmp_path: Path) -> None:
    """C6: a worker whose commit failed can't know what is on disk; another one starts afresh."""
    journal = Journal()
    pusher = Pusher(server.port, journal, 66, repository="eio/db")
    pusher.push_image()
    (worker,) = workers(server)
    with traced(
        worker, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1", log=tmp_path / "strace"
    ):
        answer = pusher.wire("POST", "/v2/eio/db/blobs/uploads/")
        location = expect(answer, 202).headers["location"]
        with suppress(*GONE):
            assert pusher.wire("PUT", with_digest(location, digest_of(b"x")), body=b"x").status >= 500
    replaced_worker(server, worker)
    pusher.wire.close()
    pusher.push_image()
    check_nothing_lost(server, journal)


def test_killed_worker_leaves_its_upload_to_the_next(server: RunningServer) -> None:
    """C9: as when the kernel is out of memory; the upload goes on at the byte that the registry tells."""
    wire, data = Wire(server.port), random.Random(9).randbytes(3_000_000)
    location = expect(wire("POST", "/v2/oom/app/blobs/uploads/"), 202).headers["location"]
    expect(wire("PATCH", location, body=data[:1_000_000]), 202)
    (worker,) = workers(server)
    os.kill(worker, signal.SIGKILL)
    replaced_worker(server, worker)
    wire.close()
    status = expect(wire("GET", location), 204)
    assert status.headers["range"] == "0-999999"
    rest = data[1_000_000:]
    headers = {"content-range": f"1000000-{len(data) - 1}", "content-length": str(len(rest))}
    expect(wire("PATCH", location, body=rest, headers=headers), 202)
    expect(wire("PUT", with_digest(location, digest_of(data))), 201)
    assert wire("GET", f"/v2/oom/app/blobs/{digest_of(data)}").body == data


def put_into_trash(server: RunningServer, count: int) -> list[Path]:
    """Blobs that nothing refers to, removed from the catalog by hand: only their files are left."""
    pusher = Pusher(server.port, Journal(), 33, repository="trash/app")
    blobs = [random.Random(number).randbytes(100) for number in range(count)]
    for blob in blobs:
        pusher.push_blob(blob)
    digests = [digest_of(blob) for blob in blobs]
    marks = ",".join("?" * count)
    with closing(sqlite3.connect(server.data / "catalog.db", timeout=60)) as catalog, catalog:
        rows = catalog.execute(f"SELECT phys, digest FROM blob WHERE digest IN ({marks})", digests).fetchall()
        catalog.execute(
            "UPDATE project SET usage_bytes = usage_bytes - ? WHERE name = 'trash'", (100 * count,)
        )
        catalog.execute(f"DELETE FROM repo_blob WHERE digest IN ({marks})", digests)
        catalog.execute(f"DELETE FROM blob WHERE digest IN ({marks})", digests)
        catalog.executemany(
            "INSERT INTO trash (phys, digest, reason, trashed_at, delete_after)"
            " VALUES (?, ?, 'unreferenced', 0, 0)",
            rows,
        )
    return [server.data / phys for phys, _ in rows]


def end_leases(server: RunningServer) -> None:
    """Those of a dead run end by themselves; here time is made to pass."""
    with closing(sqlite3.connect(server.data / "catalog.db", timeout=60)) as catalog, catalog:
        catalog.execute("UPDATE trash SET leased_until = 0")
        catalog.execute("UPDATE job SET leased_until = 0 WHERE state = 'running'")


def test_sweeper_killed_between_unlinks_is_run_again(tmp_path: Path) -> None:
    """C3: unlinking what is gone is a success, so a second run finishes the first one's work."""
    env = {"ENTREPOT_GC_TRASH_DELAY": "0", "ENTREPOT_GC_INTERVAL": "1s"}
    with running_server(tmp_path, workers=1, env=env) as server:
        jobs = jobs_process(server)
        with traced(
            jobs, "-e", "trace=unlink", "-e", "inject=unlink:signal=SIGKILL:when=2", log=tmp_path / "strace"
        ):
            files = put_into_trash(server, 20)
            wait_until(lambda: is_dead(jobs), what="the jobs process to be killed")
        end_leases(server)
        wait_until(lambda: not any(path.exists() for path in files), what="the trash to be empty")
        assert server.fsck()["findings"] == []


def test_jobs_process_that_cannot_sync_is_replaced(tmp_path: Path) -> None:
    """C6: else nothing would be collected, scrubbed or delivered until somebody starts the server again."""
    env = {"ENTREPOT_GC_TRASH_DELAY": "0", "ENTREPOT_GC_INTERVAL": "1s"}
    with running_server(tmp_path, workers=1, env=env) as server:
        jobs = jobs_process(server)
        fault = "inject=fdatasync:error=EIO:when=1"
        with traced(jobs, "-e", "trace=fdatasync", "-e", fault, log=tmp_path / "strace"):
            files = put_into_trash(server, 3)
            wait_until(lambda: is_dead(jobs), what="the jobs process to give up")
        end_leases(server)
        wait_until(lambda: not any(path.exists() for path in files), what="the trash to be empty")
        assert server.fsck()["findings"] == []


def test_writers_wait_for_a_foreign_lock(server: RunningServer) -> None:
    """B1: somebody holds the database (a backup, a shell); pushes wait for it and then succeed."""
    journal = Journal()
    pusher = Pusher(server.port, journal, 77, repository="busy/app")
    pusher.push_image()
    with closing(sqlite3.connect(server.data / "catalog.db", timeout=60, isolation_level=None)) as foreign:
        foreign.execute("BEGIN")
        foreign.execute("SELECT count(*) FROM tag").fetchone()  # a long reader beside the writers
        pusher.push_image()
        foreign.execute("COMMIT")
        foreign.execute("BEGIN IMMEDIATE")
        pushing = threading.Thread(target=pusher.push_image)
        pushing.start()
        pushing.join(0.2)
        waited = pushing.is_alive()
        foreign.execute("COMMIT")
        pushing.join(60)
    assert waited
    assert not pushing.is_alive()
    check_nothing_lost(server, journal)


def test_torn_blob_is_never_a_whole_answer(server: RunningServer) -> None:
    """C7: GET breaks off, HEAD says 404 after the scrub, and the next push of the image mends it."""
    blobs = [random.Random(7).randbytes(700_000), b"{}"]
    pusher = Pusher(server.port, Journal(), 7, repository="torn/app")
    for blob in blobs:
        pusher.push_blob(blob)
    path = f"/v2/torn/app/blobs/{digest_of(blobs[0])}"
    headers = {"content-type": OCI_MANIFEST}
    expect(pusher.wire("PUT", "/v2/torn/app/manifests/v1", body=manifest_of(blobs), headers=headers), 201)
    (file,) = (server.data / "blobs").rglob(f"{digest_of(blobs[0]).removeprefix('sha256:')}.*")
    file.write_bytes(blobs[0][:300_000])
    try:
        assert pusher.wire("GET", path).status >= 400
    except GONE:
        pusher.wire.close()
    damaged = json.loads(server.admin("scrub", "--json", check=False).stdout)["damaged"]
    assert [(one["digest"], one["tags"]) for one in damaged] == [(digest_of(blobs[0]), ["torn/app:v1"])]
    assert pusher.wire("HEAD", path).status == 404
    pusher.push_blob(blobs[0])
    assert pusher.wire("GET", path).body == blobs[0]
    assert server.fsck()["findings"] == []
