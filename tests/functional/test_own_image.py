"""entrepot's own image: made and run by entrepot, run by docker and podman, pushed to itself."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from entrepot import __version__
from tests.support.dockerd import Docker
from tests.support.ports import free_port
from tests.support.processes import wait_until
from tests.support.programs import require_program, require_root
from tests.support.server import RunningServer, clean_env
from tests.support.shared import run_folder
from tests.support.tool import Tool

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 120_000_000
Run = Callable[..., str]
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
"""podman asks for more than containers may here."""


def make_images(folder: Path, *platforms: str) -> None:
    require_program("dpkg-deb")
    words = [word for platform in platforms for word in ("--platform", platform)]
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "image.py", "--output", folder, *words],
        check=True, env=clean_env() | {"SOURCE_DATE_EPOCH": "1790000000"}, timeout=800,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def archives() -> dict[str, Path]:
    """Platform → its OCI archive, made once in a run."""
    require_root()
    folder = run_folder() / "own-image"
    with (run_folder() / "own-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            make_images(unfinished, "linux/amd64", "linux/arm64")
            unfinished.rename(folder)
    return {name: folder / f"entrepot-{__version__}-{name}.oci.tar" for name in ("amd64", "arm64")}


def layout(archive: Path) -> dict[str, Any]:
    """The config of the one image in it."""
    with tarfile.open(archive) as tar:

        def read(digest: str) -> Any:
            file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file is not None
            return json.load(file)

        index = tar.extractfile("index.json")
        assert index is not None
        (entry,) = json.load(index)["manifests"]
        config: dict[str, Any] = read(read(entry["digest"])["config"]["digest"])
        return config


def test_it_is_small_runs_as_nobody_special_and_says_what_it_is_for(archives: dict[str, Path]) -> None:
    for architecture, archive in archives.items():
        assert archive.stat().st_size < MOST_BYTES
        found = layout(archive)
        assert (found["architecture"], found["os"]) == (architecture, "linux")
        config = found["config"]
        assert config["User"] == "10001:10001"
        assert config["Entrypoint"] == ["entrepot"]
        assert config["Labels"]["org.opencontainers.image.version"] == __version__


def test_made_again_it_is_the_same(archives: dict[str, Path], tmp_path: Path) -> None:
    make_images(tmp_path, "linux/amd64")
    (again,) = tmp_path.iterdir()
    before, after = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (archives["amd64"], again))
    assert after == before


@pytest.fixture
def podman() -> Iterator[Run]:
    home = Path(tempfile.mkdtemp(prefix="pm"))
    argv = [require_program("podman"), "--root", f"{home}/root", "--runroot", f"{home}/run"]
    argv += ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
    argv += ["--runtime", require_program("runc")]

    def run(verb: str, *words: str) -> str:
        own = {"pull": ["--tls-verify=false"], "run": LIMITS}.get(verb, [])
        done = subprocess.run(
            [*argv, verb, *own, *words], capture_output=True, text=True, check=False, timeout=300,
            env={**os.environ, "HOME": str(home)},
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    yield run
    run("rm", "-af")
    shutil.rmtree(home, ignore_errors=True)


@contextmanager
def serving(run: Run, name: str, port: int) -> Iterator[None]:
    """The image run as a registry on `port`, until the block ends; it has to stop by itself."""
    container = f"own-{port}"
    where = f"ENTREPOT_SERVER_LISTEN=127.0.0.1:{port}"
    run("run", "-d", "--name", container, "--network", "host", "-e", where, name)

    def answers() -> bool:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).status == 200
        except OSError:
            return False

    try:
        wait_until(answers, what=f"the registry in a container: {name}", timeout_s=120)
        yield
    finally:
        run("stop", "-t", "60", container)
        code = run("inspect", "-f", "{{.State.ExitCode}}", container).strip()
        log = run("logs", container)
        run("rm", "-f", container)
        assert code == "0", log


@pytest.mark.parametrize("program", ["entrepot", "docker", "podman"])
def test_it_serves_itself(
    program: str, archives: dict[str, Path], hub: RunningServer, tool: Tool, request: pytest.FixtureRequest
) -> None:
    if program == "docker":
        docker: Docker = request.getfixturevalue("dockerd")
        run: Run = lambda *words: docker.run(*words).stdout  # noqa: E731
    elif program == "podman":
        run = request.getfixturevalue("podman")
    else:
        run = lambda *words: tool.run(*words).stdout.decode()  # noqa: E731
    sources = [f"oci-archive:{path}" for path in archives.values()]
    outer = f"{hub.host}/{program}/entrepot:{__version__}"
    tool.run("manifest", "create", "--push", outer, *sources)
    run("pull", outer)
    port = free_port()
    with serving(run, outer, port):
        inner = f"127.0.0.1:{port}/own/entrepot:{__version__}"
        tool.run("manifest", "create", "--push", inner, *sources)
        run("pull", inner)
        assert (
            run("run", "--rm", "--network", "none", inner, "--version") == f"entrepot version {__version__}\n"
        )
    if program == "docker":
        run("rmi", inner, outer)
