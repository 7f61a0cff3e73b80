"""Processes that are killed and disks that are full: nothing half-done is used, and the next command cleans
up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.containers.conftest import TIMEOUT_S, Box
from tests.support.processes import wait_until
from tests.support.server import ENTREPOT
from tests.support.tarballs import archive, file

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def killed_when(box: Box, condition: Callable[[], object], *argv: str) -> int:
    """Start a command and kill it as soon as `condition` holds, if it is not done before; how it ended."""
    process = subprocess.Popen(
        [ENTREPOT, *argv], env=box.env, cwd=box.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: process.poll() is not None or condition(), what=f"{argv} to be at work")
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
    return process.returncode


def append_many_files(box: Box, name: str, count: int = 3000) -> None:
    layer = archive(*(file(b"many/%d" % number, b"x" * 3000) for number in range(count)))
    box.run("append", "tiny:1", "-", "-t", name, stdin=layer)


def leftovers(box: Box) -> list[str]:
    """Half-done things below the store, by name."""
    own = box.store / "entrepot"
    found = [*own.glob("snapshots/*/.new-*"), *own.glob("snapshots/*/.old-*"), *own.glob("containers/.*"),
             *own.glob("tmp/*")]  # fmt: skip
    return [path.name for path in found]


def unnamed_files_in(folder: Path) -> list[str]:
    """Files without a name that processes have open there."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(link))
    return [path for path in found if path.startswith(f"{folder}/#") and path.endswith(" (deleted)")]


def test_an_unpack_that_was_killed_is_done_again(box: Box) -> None:
    append_many_files(box, "many:1")
    folder = box.store / "entrepot/snapshots/root"
    killed_when(box, lambda: any(folder.glob(".new-*/many/9*")), "create", "--name", "first", "many:1")
    assert box.output("run", "--rm", "many:1", "sh", "-c", "ls /many | wc -l").strip() == "3000"
    box.clean()
    box.run("rmi", "many:1", "tiny:1")
    assert leftovers(box) == []
    assert list(folder.glob("*.json")) == []


def test_a_removal_that_was_killed_is_finished_by_the_next_command(box: Box) -> None:
    box.run(
        "run",
        "--name",
        "big",
        "tiny:1",
        "sh",
        "-c",
        "mkdir /d; i=0; while [ $i -lt 3000 ]; do echo > /d/$i; i=$((i+1)); done",
    )
    killed_when(box, lambda: list((box.store / "entrepot/containers").glob(".old-*")), "rm", "big")
    if box.output("ps", "-aq"):  # it was killed before the container was gone
        box.run("rm", "big")
    box.run("create", "--name", "next", "tiny:1")
    assert leftovers(box) == []
    assert box.output("ps", "-a", "--format", "{{.Names}}") == "next"


def test_a_commit_that_was_killed_leaves_the_images_as_they_were(box: Box) -> None:
    box.run("run", "--name", "big", "tiny:1", "sh", "-c", "head -c 30000000 /dev/urandom > /big")
    before = box.output("images", "-q", "--no-trunc")
    tmp = box.store / "entrepot/tmp"
    code = killed_when(box, lambda: unnamed_files_in(tmp), "commit", "big", "big:1")
    images = set(box.output("images", "-q", "--no-trunc").split())
    assert images >= set(before.split())
    if code == 0:
        assert len(images) == 2
    assert leftovers(box) == []
    box.run("commit", "big", "big:2")
    assert box.output("run", "--rm", "big:2", "stat", "-c", "%s", "/big") == "30000000"
    box.run("image", "prune", "-f")
    assert box.output("ps", "-a", "--format", "{{.Names}}") == "big"


def test_an_export_that_was_killed_leaves_no_file(box: Box) -> None:
    box.run("run", "--name", "big", "tiny:1", "sh", "-c", "head -c 30000000 /dev/urandom > /big")
    before = set(box.home.iterdir())
    code = killed_when(box, lambda: unnamed_files_in(box.home), "export", "-o", "out.tar", "big")
    left = set(box.home.iterdir()) - before
    # Between its last step and its end there is a moment in which it can be killed, too.
    assert left == {box.home / "out.tar"} or (code != 0 and left == set())
    box.run("export", "-o", "out.tar", "big")
    assert (box.home / "out.tar").stat().st_size > 30_000_000


def state_of(box: Box, name: str) -> tuple[dict[str, int], Path]:
    container_id = box.output("ps", "-aq", "--no-trunc", "--filter", f"name={name}")
    folder = box.store / "entrepot/containers" / container_id
    return json.loads((folder / "state.json").read_text()), folder


def gone(pid: int) -> bool:
    """Whether a process has ended (one that nobody waits for stays as a zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_an_orphan_is_found_ended_and_can_start_again(box: Box) -> None:
    box.run(
        "run", "-d", "--name", "orphan", "tiny:1", "sh", "-c", "echo up >> /log; while :; do sleep 0.1; done"
    )
    state, folder = state_of(box, "orphan")
    os.kill(state["monitor_pid"], signal.SIGKILL)
    wait_until(lambda: gone(state["monitor_pid"]), what="the monitor's end")
    assert box.output("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137) ")
    assert gone(state["pid"])
    assert box.mounts() == []
    assert not (folder / "runtime" / folder.name).exists()
    assert "monitor process was killed" in box.output("inspect", "-f", "{{.State.Error}}", "orphan")
    box.run("start", "orphan")
    assert box.output("ps", "--format", "{{.Names}}") == "orphan"
    box.run("rm", "-f", "orphan")


def test_a_container_outlives_the_command_that_started_it(box: Box) -> None:
    process = subprocess.Popen(
        [ENTREPOT, "run", "--name", "kept", "tiny:1", "sh", "-c", "echo up; while :; do sleep 0.1; done"],
        stdout=subprocess.PIPE, env=box.env, cwd=box.home,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.kill()
    process.wait(TIMEOUT_S)
    process.stdout.close()
    assert box.output("ps", "--format", "{{.Names}}") == "kept"
    box.run("stop", "-t", "0", "kept")
    assert box.output("logs", "kept") == "up"


def test_a_creation_that_was_killed_is_cleaned_up(box: Box) -> None:
    half = box.store / "entrepot/containers" / f".new-{'a' * 64}"
    (half / "upper/files").mkdir(parents=True)
    box.run("create", "--name", "next", "tiny:1")
    assert leftovers(box) == []


@pytest.fixture
def small_disk(box: Box, tmp_path: Path) -> Iterator[Box]:
    """The same store on a disk of 40 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], check=True)
    found = Box(disk / "store", tmp_path, box.tiny_tar)
    try:
        subprocess.run(["cp", "-a", box.store, found.store], check=True)
        yield found
    finally:
        found.clean()
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_told_and_the_store_stays_whole(small_disk: Box) -> None:
    box = small_disk
    layer = archive(*(file(b"zeros/%d" % number, bytes(1 << 20)) for number in range(64)))
    box.run("append", "tiny:1", "-", "-t", "big:1", stdin=layer)
    message = box.run("create", "big:1", code=1).stderr
    assert "no space left" in message.lower()
    assert leftovers(box) == []
    assert box.output("run", "--rm", "tiny:1", "cat", "/etc/issue") == "tiny"
    box.run("create", "--name", "full", "tiny:1", "sh", "-c", "cat /dev/urandom > /fill; exit 0")
    assert box.run("start", "-a", "full", code=None).stderr
    before = box.output("images", "-q", "--no-trunc")
    assert "no space left" in box.run("commit", "full", "full:1", code=1).stderr.lower()
    assert "no space left" in box.run("export", "-o", box.store / "out.tar", "full", code=1).stderr.lower()
    assert not (box.store / "out.tar").exists()
    assert box.output("images", "-q", "--no-trunc") == before
    box.run("rm", "full")
    assert box.output("run", "--rm", "tiny:1", "cat", "/etc/issue") == "tiny"


def test_a_damaged_layer_is_refused_by_its_diff_id_and_comes_back_with_the_next_load(box: Box) -> None:
    box.run("save", "-o", "saved.tar", "tiny:1")
    document = json.loads(box.output("inspect", "tiny:1"))[0]
    manifest = json.loads(
        (box.store / "blobs/sha256" / document["Descriptor"]["digest"].split(":")[1]).read_text()
    )
    blob = box.store / "blobs/sha256" / manifest["layers"][0]["digest"].split(":")[1]
    import gzip

    data = bytearray(gzip.decompress(blob.read_bytes()))
    data[data.index(b"tiny\n")] = ord("T")
    blob.write_bytes(gzip.compress(bytes(data), compresslevel=1))
    message = box.run("run", "--rm", "tiny:1", "true", code=125).stderr
    assert "was damaged on this disk and has been removed" in message
    assert list((box.store / "entrepot/snapshots/root").glob("*.json")) == []
    assert leftovers(box) == []
    box.run("load", "-i", "saved.tar")
    assert box.output("run", "--rm", "tiny:1", "cat", "/etc/issue") == "tiny"
