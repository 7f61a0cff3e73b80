"""skopeo copies and syncs whole indexes, byte for byte."""

import subprocess
from pathlib import Path

import pytest

from tests.integration.clients.conftest import Pushed
from tests.integration.clients.proof import prove
from tests.support.programs import require_program
from tests.support.server import RunningServer, clean_env
from tests.support.wire import Wire

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def skopeo(*args: str) -> str:
    argv = [require_program("skopeo"), *args]
    done = subprocess.run(argv, env=clean_env(), capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_copy_all_to_a_layout_and_back_keeps_every_digest(
    registry: RunningServer, multi_platform: Pushed, wire: Wire, tmp_path: Path
) -> None:
    layout = f"oci:{tmp_path / 'layout'}:1"
    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{multi_platform.name}", layout)
    target = f"docker://{registry.host}/comps/multi-copy:1"
    skopeo("copy", "--all", "--dest-tls-verify=false", layout, target)
    assert prove(wire, "comps/multi-copy", "1")["index"] == multi_platform.digest


def test_a_real_image_survives_a_copy(
    registry: RunningServer, real_image: Pushed, wire: Wire, tmp_path: Path
) -> None:
    place = f"dir:{tmp_path / 'dir'}"
    skopeo("copy", "--src-tls-verify=false", f"docker://{real_image.name}", place)
    skopeo("copy", "--dest-tls-verify=false", place, f"docker://{registry.host}/comps/debian-copy:12")
    assert prove(wire, "comps/debian-copy", "12")["manifest"] == real_image.digest


def test_sync_takes_a_repository_along(
    registry: RunningServer, multi_platform: Pushed, wire: Wire, tmp_path: Path
) -> None:
    folder = tmp_path / "synced"
    folder.mkdir()
    source = f"{registry.host}/{multi_platform.repository}"
    skopeo("sync", "--all", "--src-tls-verify=false", "--src=docker", "--dest=dir", source, str(folder))
    target = f"{registry.host}/mirror"
    skopeo("sync", "--all", "--dest-tls-verify=false", "--src=dir", "--dest=docker", str(folder), target)
    assert prove(wire, "mirror/multi", "1")["index"] == multi_platform.digest


def test_inspect_and_list_tags(registry: RunningServer, multi_platform: Pushed) -> None:
    assert multi_platform.digest in skopeo("inspect", "--tls-verify=false", f"docker://{multi_platform.name}")
    listed = skopeo("list-tags", "--tls-verify=false", f"docker://{registry.host}/comps/multi")
    assert '"arm64"' in listed


def test_delete_takes_the_image_away(registry: RunningServer, multi_platform: Pushed, wire: Wire) -> None:
    target = f"docker://{registry.host}/comps/doomed:1"
    skopeo(
        "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false",
        f"docker://{multi_platform.name}", target,
    )  # fmt: skip
    skopeo("delete", "--tls-verify=false", target)
    assert wire("GET", "/v2/comps/doomed/manifests/1").status == 404
