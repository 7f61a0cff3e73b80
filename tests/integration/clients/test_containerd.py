"""containerd fetches layers in ranges and pushes each blob in one PUT."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.clients.conftest import Pushed
from tests.integration.clients.proof import prove
from tests.support.processes import started
from tests.support.programs import require_program, require_root
from tests.support.server import RunningServer
from tests.support.wire import Wire

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

_CONFIG = """version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{folder}/sock"
[ttrpc]
address = "{folder}/ttrpc"
"""


@pytest.fixture
def ctr(tmp_path: Path) -> Iterator[Callable[..., str]]:
    require_root()
    config, socket = tmp_path / "config.toml", tmp_path / "sock"
    config.write_text(_CONFIG.format(folder=tmp_path))
    base = [require_program("ctr"), f"--address={socket}"]

    def run(*args: str) -> str:
        argv = [*base, *args]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def ready() -> bool:
        return (
            subprocess.run([*base, "version"], capture_output=True, check=False, timeout=60).returncode == 0
        )

    daemon = [require_program("containerd"), f"--config={config}"]
    with started(daemon, log=tmp_path / "log", ready=ready):
        yield run


def test_pull_and_push_a_real_image(
    ctr: Callable[..., str], registry: RunningServer, real_image: Pushed, wire: Wire
) -> None:
    ctr("images", "pull", "--plain-http", real_image.name)
    target = f"{registry.host}/comps/containerd/debian:12"
    ctr("images", "tag", real_image.name, target)
    ctr("images", "push", "--plain-http", target)
    assert prove(wire, "comps/containerd/debian", "12")["manifest"] == real_image.digest


def test_pull_and_push_a_whole_index(
    ctr: Callable[..., str], registry: RunningServer, multi_platform: Pushed, wire: Wire
) -> None:
    ctr("images", "pull", "--plain-http", "--all-platforms", multi_platform.name)
    target = f"{registry.host}/comps/containerd/multi:1"
    ctr("images", "tag", multi_platform.name, target)
    ctr("images", "push", "--plain-http", target)
    assert prove(wire, "comps/containerd/multi", "1")["index"] == multi_platform.digest
