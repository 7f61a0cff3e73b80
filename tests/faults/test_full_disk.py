"""A disk that is full or takes no files: pushes are refused in words, everything else goes on (D1, D2)."""

import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.server.db import open_catalog
from entrepot.server.db.errors import CatalogFull
from entrepot.server.db.migrate import upgrade
from entrepot.server.db.settings import get_setting, set_setting
from tests.faults.journal import Journal, Pusher, digest_of, expect, with_digest
from tests.support.processes import wait_until
from tests.support.programs import require_program, require_root
from tests.support.server import running_server
from tests.support.wire import Answer, Wire

pytestmark = [pytest.mark.timeout(600), pytest.mark.anyio]

MIB = 1024 * 1024
ENV = {
    "ENTREPOT_STORAGE_RESERVE": "2MiB",
    "ENTREPOT_GC_INTERVAL": "300ms",
    "ENTREPOT_GC_LEASE": "1s",
    "ENTREPOT_GC_UNDO_WINDOW": "0",
    "ENTREPOT_GC_TRASH_DELAY": "0",
}


@contextlib.contextmanager
def small_disk(folder: Path, *options: str) -> Iterator[Path]:
    """A disk in memory at `folder`."""
    require_root()
    mount, umount = require_program("mount"), require_program("umount")
    folder.mkdir()
    subprocess.run([mount, "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run([umount, "-l", str(folder)], check=True)


def push_until_refused(wire: Wire, repository: str) -> tuple[list[bytes], Answer]:
    """Push blobs of 1 MiB until one is refused."""
    stored: list[bytes] = []
    for number in range(100):
        blob = random.Random(number).randbytes(MIB)
        location = expect(wire("POST", f"/v2/{repository}/blobs/uploads/"), 202).headers["location"]
        answer = wire("PUT", with_digest(location, digest_of(blob)), body=blob)
        if answer.status != 201:
            return stored, answer
        stored.append(blob)
    raise AssertionError("the disk is larger than it should be")


def readable(wire: Wire, repository: str, blob: bytes) -> bool:
    return wire("GET", f"/v2/{repository}/blobs/{digest_of(blob)}").body == blob


def test_full_disk_refuses_pushes_and_recovers_by_deletes(tmp_path: Path) -> None:
    """D1: 507 with Retry-After, nothing half stored; with 0 bytes free pulls, deletes, collection go on."""
    with (
        small_disk(tmp_path / "disk", "size=16m") as disk,
        running_server(disk, workers=1, env=ENV) as server,
    ):
        journal = Journal()
        kept = Pusher(server.port, journal, 1, repository="full/kept")
        kept.push_image()
        wire = Wire(server.port)
        stored, refused = push_until_refused(wire, "full/app")
        assert refused.status == 507
        assert refused.code == "UNAVAILABLE"
        assert "retry-after" in refused.headers
        assert all(readable(wire, "full/app", blob) for blob in stored)
        fill(disk / "somebody-elses-file")
        assert journal.lost(server.port) == []
        for blob in stored:
            path = f"/v2/full/app/blobs/{digest_of(blob)}"
            wait_until(lambda path=path: wire("DELETE", path).status in {202, 404}, what="the delete")
        files = server.data / "blobs"
        wait_until(lambda: sum(1 for path in files.rglob("*") if path.is_file()) <= 3, what="collection")
        (disk / "somebody-elses-file").unlink()
        wait_until(lambda: push_works(wire), what="pushes to work again")
        assert journal.lost(server.port) == []
        assert server.fsck()["findings"] == []


async def test_full_disk_does_not_end_changes_that_need_no_room(tmp_path: Path) -> None:
    """D1: the log is copied into the database and started over, however few changes it holds."""
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        url = f"sqlite:///{disk}/catalog.db"
        upgrade(url)
        catalog = open_catalog(url)
        try:
            await catalog.write(set_setting, "name", "before")
            fill(disk / "somebody-elses-file")
            kept, refused = "before", 0
            for number in range(1000):
                try:
                    await catalog.write(set_setting, "name", f"{number:1000}")
                    kept = f"{number:1000}"
                except CatalogFull:
                    refused += 1
                assert await catalog.read(get_setting, "name") == kept
            assert refused < 250
        finally:
            await catalog.close()


def fill(path: Path) -> None:
    """Take every byte that is left on the disk, in one step.

    Byte by byte it would go on to take what the server gives back meanwhile, its reserve, which is there for
    this very case.
    """
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            disk = os.statvfs(path)
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize)
                return
    raise AssertionError("the disk could not be filled")


def push_works(wire: Wire) -> bool:
    blob = random.Random(99).randbytes(1000)
    begun = wire("POST", "/v2/full/again/blobs/uploads/")
    if begun.status != 202:
        return False
    return wire("PUT", with_digest(begun.headers["location"], digest_of(blob)), body=blob).status == 201


def test_disk_without_inodes_refuses_pushes(tmp_path: Path) -> None:
    """D2: no room for another file although there are bytes."""
    with (
        small_disk(tmp_path / "disk", "size=64m", "nr_inodes=700") as disk,
        running_server(disk, workers=1, env=ENV) as server,
    ):
        fillers = disk / "fillers"
        fillers.mkdir()
        wire = Wire(server.port)
        location = expect(wire("POST", "/v2/inodes/app/blobs/uploads/"), 202).headers["location"]
        for _ in range(2):  # the server's own probe of the disk may have had one of them
            with contextlib.suppress(OSError):
                for number in range(1000):
                    (fillers / str(number)).touch()
        answer = wire("PUT", with_digest(location, digest_of(b"x")), body=b"x")
        assert answer.status == 507
        for path in fillers.iterdir():
            path.unlink()
        wait_until(lambda: push_works(wire), what="pushes to work again")


def test_store_that_takes_no_files_is_told_and_survived(tmp_path: Path) -> None:
    """D2: pushes get 503, `/readyz` says why, pulls go on; all is well again without a restart."""
    with running_server(tmp_path, workers=1) as server:
        journal, wire = Journal(), Wire(server.port)
        pusher = Pusher(server.port, journal, 3, repository="ro/app")
        pusher.push_image()
        shard = server.data / "blobs" / "sha256" / digest_of(b"x").removeprefix("sha256:")[:2]
        with no_files_taken(server.data / "uploads"), no_files_taken(shard):
            wait_until(lambda: "problems" in wire("GET", "/readyz").json(), what="/readyz to say so")
            answer = wire("GET", "/readyz")
            assert answer.status == 200, "pulls work"
            assert "store" in answer.json()["problems"]
            location = expect(wire("POST", "/v2/ro/app/blobs/uploads/"), 202).headers["location"]
            answer = wire("PUT", with_digest(location, digest_of(b"x")), body=b"x")
            assert answer.status == 503
            assert "retry-after" in answer.headers
            assert str(server.data) not in answer.body.decode()
            wait_until(lambda: "store failed" in server.log.read_text(), what="the reason in the log")
            assert journal.lost(server.port) == []
        wait_until(lambda: wire("GET", "/readyz?for=pushes").status == 200, what="/readyz to be well")
        pusher.push_image()
        assert journal.lost(server.port) == []


@contextlib.contextmanager
def no_files_taken(folder: Path) -> Iterator[None]:
    """Nobody can make a file in `folder`, not even root: something else has its name."""
    aside = folder.with_name(folder.name + ".aside")
    folder.rename(aside)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def test_files_of_a_server_are_private(tmp_path: Path) -> None:
    """What the registry writes is for its own user, whatever the umask."""
    before = os.umask(0)
    try:
        with running_server(tmp_path, workers=1) as server:
            Pusher(server.port, Journal(), 4, repository="private/app").push_image()
            open_to_others = [path for path in server.data.rglob("*") if path.lstat().st_mode & 0o077]
            assert open_to_others == []
            assert server.data.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
