"""podman and buildah push to entrepot and pull from it."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clients.conftest import Pushed
from tests.integration.clients.proof import layers, prove
from tests.support.programs import require_program, require_root
from tests.support.server import RunningServer, clean_env
from tests.support.wire import Wire

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


class Containers:
    """podman or buildah with storage of its own, away from the machine's."""

    def __init__(self, folder: Path, program: str) -> None:
        require_root()
        self._argv = [require_program(program), f"--root={folder}/root", f"--runroot={folder}/run"]
        self._argv += ["--storage-driver=vfs"]
        if program == "podman":
            self._argv += ["--cgroup-manager=cgroupfs", "--events-backend=file", f"--tmpdir={folder}/tmp"]
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        self._env = clean_env(HOME=str(home), XDG_RUNTIME_DIR=str(home))

    def __call__(self, *args: str) -> str:
        argv = [*self._argv, *args]
        done = subprocess.run(argv, env=self._env, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout


@pytest.fixture
def storage() -> Iterator[Path]:
    """A folder with a short name: podman refuses run roots of more than 50 characters."""
    folder = Path(tempfile.mkdtemp(prefix="ep-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_podman_pulls_tags_and_pushes(
    registry: RunningServer, real_image: Pushed, wire: Wire, storage: Path
) -> None:
    podman = Containers(storage, "podman")
    podman("pull", "-q", "--tls-verify=false", real_image.name)
    target = f"{registry.host}/comps/podman/debian:12"
    podman("tag", real_image.name, target)
    podman("push", "-q", "--tls-verify=false", target)
    prove(wire, "comps/podman/debian", "12")
    assert layers(wire, "comps/podman/debian", "12") == layers(wire, "comps/debian", "12")


def test_podman_pulls_one_platform_of_an_index(
    registry: RunningServer, multi_platform: Pushed, storage: Path
) -> None:
    podman = Containers(storage, "podman")
    podman("pull", "-q", "--tls-verify=false", "--platform=linux/arm64", multi_platform.name)
    assert podman("inspect", "-f", "{{.Architecture}}", multi_platform.name).strip() == "arm64"


def test_podman_search_and_manifest_push(
    registry: RunningServer, multi_platform: Pushed, wire: Wire, storage: Path
) -> None:
    podman = Containers(storage, "podman")
    assert "comps/multi" in podman("search", "--tls-verify=false", f"{registry.host}/multi")
    podman("manifest", "create", "own")
    for platform in ("amd64", "arm64"):
        podman(
            "manifest", "add", "--tls-verify=false", "own", f"docker://{registry.host}/comps/multi:{platform}"
        )
    podman(
        "manifest", "push", "--all", "--tls-verify=false", "own", f"docker://{registry.host}/comps/listed:1"
    )
    assert "index" in prove(wire, "comps/listed", "1")


def test_buildah_builds_and_pushes(registry: RunningServer, wire: Wire, scratch: Path, storage: Path) -> None:
    buildah = Containers(storage, "buildah")
    (scratch / "Containerfile").write_text("FROM scratch\nCOPY data.txt /\n")
    name = f"{registry.host}/comps/buildah:1"
    buildah("build", "-q", "-t", name, str(scratch))
    buildah("push", "-q", "--tls-verify=false", name)
    prove(wire, "comps/buildah", "1")
