"""Real clients pull another registry's images through entrepot, while it is there and when it is gone."""

import hashlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.clients.test_containerd import ctr
from tests.integration.clients.test_podman import Containers, storage
from tests.integration.clients.test_skopeo import skopeo
from tests.support import dockerd as docker_daemon
from tests.support.images import image, push_image
from tests.support.peers import Peer, docker_registry
from tests.support.processes import started, wait_until
from tests.support.programs import require_root
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire

__all__ = ["ctr", "storage"]

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True)
class Street:
    """entrepot, and a docker-registry that is behind its project `far`."""

    near: RunningServer
    far: Peer
    log: Path

    @property
    def far_host(self) -> str:
        return f"127.0.0.1:{self.far.port}"

    def push(self, repository: str) -> str:
        """A new image at the far end; its manifest's digest."""
        made = image([{"name": repository.encode()}, {"more": os.urandom(300_000)}])
        with closing(Wire(self.far.port)) as wire:
            return push_image(wire, repository, "v1", made)

    def asked(self, method: str, repository: str, kind: str = "blobs") -> list[str]:
        """Paths of requests that the far end has had."""
        lines = [line.split('"')[1].split() for line in self.log.read_text().splitlines() if '" 2' in line]
        return [
            words[1]
            for words in lines
            if words[0] == method and words[1].startswith(f"/v2/{repository}/{kind}/sha256:")
        ]

    def pulled_once(self, repository: str) -> None:
        """Each blob and each manifest went over the far line once, whoever asked."""
        wait_until(lambda: len(self.asked("GET", repository)) >= 3, what="the blobs to be fetched")
        assert len(self.asked("GET", repository)) == 3
        assert len(set(self.asked("GET", repository))) == 3
        assert len(self.asked("GET", repository, "manifests")) == 1


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    asks = {"ENTREPOT_PULL_THROUGH_FRESH": "0s", "ENTREPOT_PULL_THROUGH_STALE": "0s"}
    with docker_registry(folder / "far", access_log=True) as far, running_server(folder, env=asks) as near:
        near.admin("upstream", "add", "far", f"http://127.0.0.1:{far.port}", "--inside", "--whole")
        yield Street(near, far, folder / "far" / "registry.log")


def test_skopeo_copies_by_the_projects_name(street: Street, tmp_path: Path) -> None:
    digest = street.push("skopeo/app")
    skopeo(
        "copy",
        "--src-tls-verify=false",
        f"docker://{street.near.host}/far/skopeo/app:v1",
        f"dir:{tmp_path}/a",
    )
    assert digest == f"sha256:{_sha256(tmp_path / 'a' / 'manifest.json')}"
    street.pulled_once("skopeo/app")


def test_containerd_mirrors_by_hosts_toml(street: Street, ctr: Callable[..., str], tmp_path: Path) -> None:
    digest = street.push("ctr/app")
    snippet = street.near.admin("upstream", "snippet", "far", "--url", street.near.url).stdout
    hosts = tmp_path / "hosts" / street.far_host.replace(":", "_") / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text(_section(snippet, "# containerd"))
    name = f"{street.far_host}/ctr/app:v1"
    ctr("images", "pull", "--hosts-dir", str(tmp_path / "hosts"), name)
    assert digest in ctr("images", "list")
    street.pulled_once("ctr/app")


def test_podman_mirrors_by_registries_conf(street: Street, storage: Path) -> None:
    street.push("podman/app")
    snippet = street.near.admin("upstream", "snippet", "far", "--url", street.near.url).stdout
    conf = storage / "registries.conf"
    conf.write_text(_section(snippet, "# podman"))
    podman = Containers(storage, "podman")
    podman._env["CONTAINERS_REGISTRIES_CONF"] = str(conf)
    podman("pull", "-q", f"{street.far_host}/podman/app:v1")
    street.pulled_once("podman/app")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The path of a socket has at most 107 bytes, and the daemon's own is deep below its folder."""
    folder = Path(tempfile.mkdtemp(prefix="ep-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_docker_pulls_by_name_and_by_mirror_and_when_the_upstream_is_gone(
    street: Street, short_folder: Path, tmp_path: Path
) -> None:
    require_root()
    for name in ("docker/app", "docker/mirrored"):
        street.push(name)
    listens = short_folder / "docker.sock"
    argv = [*docker_daemon.command(short_folder), f"--registry-mirror={street.near.url}"]
    client = docker_daemon.Docker(listens, tmp_path)

    def ready() -> bool:
        return listens.exists() and docker_daemon.answers(listens)

    with started(argv, log=tmp_path / "log", ready=ready):
        by_name = f"{street.near.host}/far/docker/app:v1"
        client.run("pull", by_name)
        client.run("pull", "docker/mirrored:v1")
        for name in ("docker/app", "docker/mirrored"):
            street.pulled_once(name)
        client.run("image", "rm", by_name, "docker/mirrored:v1")
        os.kill(street.far.pid, signal.SIGKILL)
        wait_until(lambda: not _answers(street.far.port), what="the far end to be gone")
        client.run("pull", by_name)
        client.run("pull", "docker/mirrored:v1")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def _section(snippets: str, heading: str) -> str:
    """The lines below one client's heading."""
    lines = snippets[snippets.index(heading) :].splitlines()[1:]
    end = next((n for n, line in enumerate(lines) if line.startswith("# ")), len(lines))
    return "\n".join(lines[:end])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
