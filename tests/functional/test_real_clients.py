"""Images and archives between this tool and real docker, podman and skopeo, both ways."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dockerd import Docker
from tests.support.images import digest_of, image, layer_tar, push_image
from tests.support.programs import require_program, require_root
from tests.support.server import RunningServer
from tests.support.tool import Tool
from tests.support.wire import Wire

pytestmark = pytest.mark.clients

GREETING = "hello from an image"


def program_files(name: str) -> dict[str, bytes]:
    """A program of this machine with the libraries it loads: a root file system that runs."""
    path = Path(require_program(name)).resolve()
    files = {f"bin/{name}": path.read_bytes()}
    listed = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=True, timeout=60).stdout
    for library in re.findall(r"(/\S+) \(0x", listed):
        files[library.lstrip("/")] = Path(library).resolve().read_bytes()
    return files


@pytest.fixture(scope="module")
def rootfs() -> bytes:
    return layer_tar(program_files("echo"))


@pytest.fixture
def imported(tool: Tool, rootfs: bytes) -> str:
    """ID of an image that greets."""
    change = f'ENTRYPOINT ["/bin/echo", "{GREETING}"]'
    return tool.run("import", "-c", change, "-", "greet:1", stdin=rootfs).stdout.decode().strip()


class Podman:
    """podman with storage of its own. Its paths may not be long, so they are not below `tmp_path`."""

    def __init__(self, home: Path) -> None:
        require_root()
        self.home = home
        self._argv = [require_program("podman"), "--root", str(home / "root"), "--runroot", str(home / "run")]
        self._argv += ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]

    def __call__(self, *argv: str) -> str:
        env = {**os.environ, "HOME": str(self.home)}
        done = subprocess.run(
            [*self._argv, *argv], capture_output=True, check=False, timeout=170, env=env, cwd=self.home
        )
        assert done.returncode == 0, f"{argv}: {done.stdout!r} {done.stderr!r}"
        return done.stdout.decode()


@pytest.fixture
def podman() -> Iterator[Podman]:
    home = Path(tempfile.mkdtemp(prefix="pm"))
    yield Podman(home)
    shutil.rmtree(home, ignore_errors=True)


def test_docker_pulls_and_runs_what_we_push(
    tool: Tool, hub: RunningServer, dockerd: Docker, imported: str
) -> None:
    name = f"{hub.host}/clients/greet:1"
    tool.run("tag", "greet:1", name)
    pushed = tool.out("push", name)
    assert f"digest: {json.loads(tool.out('inspect', name))[0]['Descriptor']['digest']}" in pushed
    dockerd.run("pull", name)
    assert dockerd.run("image", "inspect", "-f", "{{.Id}}", name).stdout.strip() == imported
    ran = dockerd.run("run", "--rm", "--network", "none", name)
    assert ran.stdout == f"{GREETING}\n"
    dockerd.run("rmi", name)


def test_we_pull_what_docker_pushes(tool: Tool, hub: RunningServer, dockerd: Docker, rootfs: bytes) -> None:
    name = f"{hub.host}/clients/docker:1"
    made = dockerd.run("import", "-c", 'CMD ["/bin/echo", "x"]', "-", name, stdin=rootfs)
    identity = made.stdout.strip()
    shown = dockerd.run("push", name).stdout
    pulled = tool.out("pull", name)
    digest = re.search(r"digest: (sha256:[0-9a-f]{64})", shown)
    assert digest is not None
    assert f"Digest: {digest[1]}" in pulled
    assert tool.out("images", "-q", "--no-trunc", name).strip() == identity
    dockerd.run("rmi", name)


def test_archives_go_both_ways_with_docker(
    tool: Tool, dockerd: Docker, imported: str, tmp_path: Path
) -> None:
    tool.run("tag", "greet:1", "clients-archive:ours")
    tool.run("save", "clients-archive:ours", "-o", tmp_path / "ours.tar")
    assert (
        "Loaded image: clients-archive:ours" in dockerd.run("load", "-i", str(tmp_path / "ours.tar")).stdout
    )
    assert dockerd.run("image", "inspect", "-f", "{{.Id}}", "clients-archive:ours").stdout.strip() == imported
    dockerd.run("tag", "clients-archive:ours", "clients-archive:theirs")
    dockerd.run("save", "clients-archive:theirs", "-o", str(tmp_path / "theirs.tar"))
    tool.run("rmi", "greet:1", "clients-archive:ours")
    assert tool.out("load", "-i", tmp_path / "theirs.tar") == "Loaded image: clients-archive:theirs\n"
    assert tool.out("images", "-q", "--no-trunc", "clients-archive").strip() == imported
    dockerd.run("rmi", "clients-archive:ours", "clients-archive:theirs")


def test_copies_go_in_and_out_of_a_docker_daemon(
    tool: Tool, hub: RunningServer, dockerd: Docker, imported: str
) -> None:
    env = {"DOCKER_HOST": f"unix://{dockerd.socket}"}
    tool.run("copy", "store:greet:1", "docker-daemon:clients-daemon:1", env=env)
    assert dockerd.run("image", "inspect", "-f", "{{.Id}}", "clients-daemon:1").stdout.strip() == imported
    tool.run("copy", "docker-daemon:clients-daemon:1", f"{hub.host}/clients/daemon:1", env=env)
    tool.run("pull", f"{hub.host}/clients/daemon:1")
    assert tool.out("images", "-q", "--no-trunc", f"{hub.host}/clients/daemon").strip() == imported
    dockerd.run("rmi", "clients-daemon:1")


def test_podman_pulls_and_runs_what_we_push_and_we_load_what_it_saves(
    tool: Tool, hub: RunningServer, podman: Podman, imported: str, tmp_path: Path
) -> None:
    name = f"{hub.host}/clients/greet-podman:1"
    tool.run("tag", "greet:1", name)
    tool.run("push", name)
    podman("pull", "--tls-verify=false", name)
    assert podman("inspect", "-f", "{{.Id}}", name).strip() == imported.removeprefix("sha256:")
    # Limits below what this machine allows itself; podman asks for more than containers may here.
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    ran = podman("--runtime", require_program("runc"), "run", "--rm", "--network=none", *limits, name)
    assert ran == f"{GREETING}\n"
    for form in ("docker-archive", "oci-archive"):
        podman("save", "--format", form, "-o", str(tmp_path / f"{form}.tar"), name)
        tool.run("rmi", "-f", imported)
        assert "Loaded image" in tool.out("load", "-i", tmp_path / f"{form}.tar")
        assert tool.out("images", "-q", "--no-trunc").splitlines() == [imported]
    tool.run("save", imported, "-o", tmp_path / "ours.tar")
    podman("rmi", name)
    podman("load", "-i", str(tmp_path / "ours.tar"))
    assert podman("images", "-q", "--no-trunc").split() == [imported]


def test_skopeo_reads_the_store_and_our_archives(tool: Tool, hub: RunningServer, tmp_path: Path) -> None:
    skopeo = require_program("skopeo")
    made = image(({"x": b"1"}, {"y": b"2"}))
    wire = Wire(hub.port)
    push_image(wire, "clients/skopeo", "1", made)
    wire.close()
    name = f"{hub.host}/clients/skopeo:1"
    tool.run("pull", name)
    tool.run("save", name, "-o", tmp_path / "ours.tar")
    tool.run("copy", name, f"oci:{tmp_path / 'layout'}")
    places = [f"docker-archive:{tmp_path / 'ours.tar'}", f"oci:{tmp_path / 'layout'}"]
    for place in (f"oci:{tool.store}:{name}", *places):
        argv = [skopeo, "inspect", "--config", "--raw", place]
        seen = subprocess.run(argv, capture_output=True, check=False, timeout=120)
        assert seen.returncode == 0, seen.stderr
        assert digest_of(seen.stdout) == made.config_digest
