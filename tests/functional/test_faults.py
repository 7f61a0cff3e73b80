"""What is left when things go wrong: crashes, full disks, lies, two at once, no rights."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.images.store import ImageStore
from entrepot.oci.manifest import build_index
from entrepot.oci.reference import Reference
from tests.functional.stub_registry import StubRegistry, manifest_with, stub_registry
from tests.support.images import Image, image, layer_tar
from tests.support.processes import wait_until
from tests.support.programs import require_program, require_root
from tests.support.server import ENTREPOT, RunningServer
from tests.support.tool import Tool

BIG = os.urandom(6 << 20)
HALF = 3 << 20
ARRIVED = 2 << 20
"""What is in a file for sure when HALF was sent: reads are of one MiB."""


@pytest.fixture(scope="module")
def made() -> Image:
    return image(({"small": b"1"}, {"big": BIG}), config={"Cmd": ["/x"]})


@pytest.fixture
def stub(made: Image) -> Iterator[StubRegistry]:
    with stub_registry(made) as running:
        yield running


@pytest.fixture
def alone(tmp_path: Path) -> Tool:
    """The tool without a Docker Hub."""
    return Tool(tmp_path / "home", "localhost:1")


def kill(process: "subprocess.Popen[bytes]", how: int = signal.SIGKILL) -> tuple[int, bytes]:
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def partial_bytes(store: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return sum(path.stat().st_size for path in (store / "entrepot" / "partial").iterdir())
    return 0


def leftovers(store: Path) -> list[str]:
    return [
        path.name for name in ("partial", "tmp", "leases") for path in (store / "entrepot" / name).iterdir()
    ]


def test_k6_killed_pull_leaves_the_store_whole_and_the_next_run_goes_on(
    alone: Tool, stub: StubRegistry, made: Image
) -> None:
    stub.behaviour.stall_after = HALF
    name = f"{stub.host}/app:1"
    process = alone.start("pull", name)
    wait_until(lambda: partial_bytes(alone.store) >= ARRIVED, what="half a layer", timeout_s=50)
    assert kill(process)[0] == -signal.SIGKILL
    assert alone.out("images", "-q") == ""
    held = alone.store / "entrepot" / "partial" / stub.largest.replace(":", "-")
    here = held.stat().st_size
    stub.behaviour.go_on.set()
    alone.out("pull", name)
    assert stub.behaviour.ranges == ["", f"bytes={here}-"]
    assert alone.out("images", "-q", "--no-trunc").strip() == made.config_digest
    assert alone.out("image", "prune", "-f") == "Total reclaimed space: 0B\n"
    assert leftovers(alone.store) == []


def test_k6_killed_push_leaves_the_store_whole_and_the_next_run_finishes(
    alone: Tool, stub: StubRegistry, made: Image
) -> None:
    name = f"{stub.host}/app:1"
    alone.run("pull", name)
    stub.behaviour.stall_after = HALF
    process = alone.start("push", name)
    wait_until(stub.behaviour.stalled.is_set, what="half a layer at the registry", timeout_s=90)
    assert kill(process)[0] == -signal.SIGKILL
    stub.behaviour.go_on.set()
    assert made.digest in alone.out("push", name)
    assert stub.behaviour.pushed["1"] == made.manifest
    assert stub.behaviour.pushed[stub.largest] == made.blobs[stub.largest]


def test_k6_killed_load_leaves_the_store_whole(alone: Tool, stub: StubRegistry, made: Image) -> None:
    name = f"{stub.host}/app:1"
    alone.run("pull", name)
    archive = alone.run("save", name).stdout
    alone.run("rmi", name)
    process = subprocess.Popen(
        [ENTREPOT, "load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=alone.env, cwd=alone.home,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(archive[: len(archive) // 2])
    process.stdin.flush()  # more than a pipe holds: most of it has been read by now
    process.send_signal(signal.SIGKILL)
    process.stdin.close()
    assert process.wait(60) == -signal.SIGKILL
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    assert alone.out("images", "-q") == ""
    assert alone.run("load", stdin=archive).stdout.decode() == f"Loaded image: {name}\n"
    assert alone.out("images", "-q", "--no-trunc").strip() == made.config_digest
    assert leftovers(alone.store) == []


def test_interrupted_pull_says_nothing_and_leaves_with_130(alone: Tool, stub: StubRegistry) -> None:
    stub.behaviour.stall_after = HALF
    process = alone.start("pull", f"{stub.host}/app:1")
    wait_until(lambda: partial_bytes(alone.store) >= ARRIVED, what="half a layer", timeout_s=50)
    code, err = kill(process, signal.SIGINT)
    assert (code, err) == (130, b"")
    assert alone.out("images", "-q") == ""


def test_a_copy_that_is_told_to_end_leaves_nothing(alone: Tool, stub: StubRegistry) -> None:
    stub.behaviour.stall_after = HALF
    process = alone.start("copy", f"{stub.host}/app:1", "docker-archive:out.tar")
    wait_until(stub.behaviour.stalled.is_set, what="half a layer", timeout_s=90)
    code, err = kill(process, signal.SIGTERM)
    assert (code, err) == (143, b"")
    assert [path.name for path in alone.home.iterdir() if "entrepot-archive" in path.name] == []
    assert not (alone.home / "out.tar").exists()


def test_k6_full_disk_is_told_and_the_next_run_finishes(
    alone: Tool, stub: StubRegistry, made: Image, tmp_path: Path
) -> None:
    require_root()
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True, timeout=60)
    try:
        store, name = ["--store", str(disk / "store")], f"{stub.host}/app:1"
        assert "no space left on device" in alone.err(*store, "pull", name)
        assert alone.out(*store, "images", "-q") == ""
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True, timeout=60)
        alone.run(*store, "pull", name)
        assert stub.behaviour.ranges[-1].startswith("bytes=")
        assert alone.out(*store, "images", "-q", "--no-trunc").strip() == made.config_digest
    finally:
        subprocess.run(["umount", str(disk)], check=False, timeout=60)


def test_k6_four_processes_pull_the_same_image_at_once(alone: Tool, stub: StubRegistry, made: Image) -> None:
    processes = [alone.start("pull", f"{stub.host}/app:{tag}") for tag in ("1", "1", "2", "3")]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, b""), out
    assert alone.out("images", "-q", "--no-trunc").split() == [made.config_digest] * 3
    assert leftovers(alone.store) == []
    alone.run("save", f"{stub.host}/app:1")  # reads and verifies every blob


@pytest.mark.parametrize("lie", ["other bytes", "too short", "endless"])
def test_k4_lies_about_a_layer_are_found_out_and_nothing_is_kept(
    alone: Tool, stub: StubRegistry, made: Image, lie: str
) -> None:
    if lie == "other bytes":
        stub.behaviour.body = bytes(len(made.blobs[stub.largest]))
    elif lie == "too short":
        stub.behaviour.body = b"short"
    else:
        stub.behaviour.endless = True
    text = alone.err("pull", f"{stub.host}/app:1")
    assert text.startswith("Error: ")
    assert text.count("\n") == 1
    assert stub.largest in text
    assert alone.out("images", "-q") == ""
    assert not (alone.store / "entrepot" / "partial" / stub.largest.replace(":", "-")).exists()


def test_k4_redirects_in_circles_end(alone: Tool, stub: StubRegistry) -> None:
    stub.behaviour.redirect_to = f"/v2/app/blobs/{stub.largest}"
    assert "redirected more than" in alone.err("pull", f"{stub.host}/app:1")


@pytest.mark.parametrize("digest", ["sha256:../../../../tmp/x", "sha256:" + "0" * 63, "md5:" + "0" * 32, "x"])
def test_k7_digests_that_are_paths_are_refused(
    alone: Tool, stub: StubRegistry, made: Image, digest: str
) -> None:
    stub.behaviour.manifest = manifest_with(made, digest=digest)
    text = alone.err("pull", f"{stub.host}/app:1")
    assert text.startswith("Error: ")
    assert alone.out("images", "-q") == ""


@pytest.mark.parametrize("name", ["../x", "a/../b", "x:../y", "http://h/x", "a//b", "-x"])
def test_k7_names_that_are_none_are_refused(alone: Tool, name: str) -> None:
    for verb in ("pull", "push"):
        assert "invalid reference format" in alone.err(verb, "--", name)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil"])
def test_archive_with_paths_that_lead_out_is_refused(alone: Tool, tmp_path: Path, name: str) -> None:
    (alone.home / "evil.tar").write_bytes(layer_tar({name: b"x", "manifest.json": b"[]"}))
    assert "leads out of the archive" in alone.err("load", "-i", "evil.tar")


def test_it_works_as_a_plain_user(tool: Tool, hub: RunningServer, made: Image, tmp_path: Path) -> None:
    """Pull, tag, push, save, load and rmi without any privilege."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        # A user namespace in which this process is user 1000: no capability, the same files.
        prefix = [require_program("unshare"), "--user", "--map-user=1000", "--map-group=1000", "--"]

    def run(*argv: str) -> str:
        done = subprocess.run(
            [*prefix, ENTREPOT, *argv],
            capture_output=True,
            env=tool.env,
            cwd=tool.home,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout.decode()

    (tool.home / "r.tar").write_bytes(layer_tar({"x": b"1"}))
    run("import", "r.tar", "mine:1")
    name = f"{hub.host}/plain/mine:1"
    run("tag", "mine:1", name)
    run("push", name)
    run("rmi", "mine:1", name)
    run("pull", name)
    run("save", "-o", "s.tar", name)
    run("rmi", name)
    assert run("load", "-i", "s.tar") == f"Loaded image: {name}\n"
    assert json.loads(run("inspect", name))[0]["RepoTags"] == [name]


def test_an_index_without_an_image_is_shown_and_removed(alone: Tool) -> None:
    """Shared attestations, say; nothing could list or remove it."""
    store = ImageStore(alone.store)
    store.prepare()
    inner = build_index([])
    index = build_index([inner.descriptor()])
    for each in (inner, index):
        store.blobs.put_bytes(each.raw)
    store.add([(index.descriptor(), [Reference.parse("indexes:1")])])
    short = index.digest().short
    assert alone.out("images", "-q", "indexes").strip() == short
    assert alone.out("images", "--tree").splitlines()[1].split()[:2] == ["indexes:1", short]
    assert alone.out("inspect", "-f", "{{(index .Manifests 0).digest}}", "indexes:1") == f"{inner.digest()}\n"
    assert alone.out("rmi", "indexes:1") == f"Untagged: indexes:1\nDeleted: {index.digest()}\n"
