"""Our client and our server, with accounts: everything between a password and a mounted layer."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.client.credentials import Credential
from entrepot.client.errors import AccessDenied, AuthenticationFailed
from entrepot.client.registry import PUSH, Registry
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes
from entrepot.oci import mediatype
from entrepot.oci.manifest import build_manifest
from entrepot.transfer.copy import copy
from tests.support.lying_registry import quick_settings
from tests.support.server import ENTREPOT, RunningServer, running_server

PASSWORD = "correct horse battery staple"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path / "server", env={"ENTREPOT_ACCESS_MODE": "accounts"}, workers=1) as started:
        argv = [ENTREPOT, "admin", "--data", str(started.data)]
        argv += ["user", "create", "ann", "--admin", "--password-stdin"]
        subprocess.run(argv, input=PASSWORD.encode(), env=started.env, check=True, timeout=120)
        yield started


def test_an_account_logs_in_pushes_mounts_and_others_do_not(server: RunningServer, tmp_path: Path) -> None:
    nobody = Registry(server.host, settings=quick_settings(tmp_path))
    with pytest.raises(AuthenticationFailed):
        nobody.check_login(Credential("ann", "wrong"))
    with pytest.raises(AccessDenied, match="'entrepot login'"):
        nobody.repository("team/app").get_manifest("1")

    kept = nobody.check_login(Credential("ann", PASSWORD))
    assert PASSWORD not in (kept.password, kept.identity_token)
    settings = quick_settings(tmp_path)
    settings.credentials.store(server.host, kept)

    source = MemoryStore()
    config = source.add_blob(b"{}", mediatype.OCI_CONFIG)
    layers = [source.add_blob(bytes([n]) * 2_000_000, mediatype.OCI_LAYER) for n in range(3)]
    source.put_manifest(ManifestBytes.from_manifest(build_manifest(config, layers)), "1")
    registry = Registry(server.host, settings=settings)
    first = registry.repository("team/app", actions=PUSH)
    assert copy(source, first, reference="1", to="1").moved_blobs == 4
    second = registry.repository("other/app", actions=PUSH)
    mounted = copy(source, second, reference="1", to="1", if_absent=True, mount_from=lambda _: ["team/app"])
    assert (mounted.moved_blobs, mounted.present_blobs) == (0, 4)
    assert registry.catalog() == ["other/app", "team/app"]
    back = MemoryStore()
    copy(registry.repository("other/app"), back, reference="1", to="1")
    assert back.blobs == source.blobs
    assert [one.name for one in registry.search("other")] == ["other/app"]
