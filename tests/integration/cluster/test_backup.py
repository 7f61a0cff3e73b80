"""A registry is backed up while it works, and comes back elsewhere with all that was acknowledged."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.faults.journal import Crew, Journal, Pusher
from tests.integration.cluster.nodes import Place, node_for_later
from tests.support.images import image, push_image
from tests.support.processes import wait_until
from tests.support.programs import require_program
from tests.support.server import ENTREPOT, clean_env, running_server
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(600)


def test_backup_of_a_busy_registry(place: Place, tmp_path: Path) -> None:
    """Two incremental runs under load, encrypted, readable by age; back on PostgreSQL and a bucket."""
    age = require_program("age")
    key, where = tmp_path / "backup.key", tmp_path / "backup"
    before, during = Journal(), Journal()
    with running_server(tmp_path / "old", workers=1) as old:
        for seed in range(3):
            Pusher(old.port, before, seed, repository=f"kept/r{seed}").push_image()
        with Crew(old.port, during, size=3, seed=7, pause_s=0.1) as crew:
            first = json.loads(old.admin("backup", str(where), "--new-key", str(key), "--json").stdout)
            wanted = during.operations + 5
            wait_until(lambda: during.operations >= wanted or crew.faults, what="pushes")
            second = json.loads(old.admin("backup", str(where), "--key", str(key), "--json").stdout)
        assert crew.faults == []
        assert second["damaged"] == []
        assert second["copied"] < second["blobs"]
        assert first["name"] <= second["name"]
        assert "everything was read" in old.admin("backup", str(where), "--key", str(key), "--check").stdout
        assert old.fsck()["findings"] == []
        (last,) = where.glob(f"snapshots/{second['name']}.json")
        opened = subprocess.run([age, "-d", "-i", key, last], capture_output=True, check=True).stdout
        assert json.loads(opened)["blobs"] == second["blobs"]
    with node_for_later(tmp_path / "new", place) as new:
        done = new.admin("restore", str(where), "--key", str(key))
        assert "read back" in done.stdout
        new.start()
        assert before.lost(new.port) == []
        Pusher(new.port, before, 9, repository="kept/r9").push_image()
        assert new.fsck()["findings"] == []


def test_export_and_rebuild_with_other_tools(tmp_path: Path) -> None:
    """skopeo reads what `export` writes; `rebuild` finds the image again when the catalog is lost."""
    skopeo = require_program("skopeo")
    pushed = image([{"a": b"x" * 10_000}, {"b": b"y"}])
    with running_server(tmp_path, workers=1) as server:
        push_image(Wire(server.port), "team/app", "v1", pushed)
        server.admin("export", str(tmp_path / "out"))
        inspected = subprocess.run(
            [skopeo, "inspect", "--raw", f"oci:{tmp_path}/out/team/app:v1"], capture_output=True, check=True
        )
        assert inspected.stdout == pushed.manifest
        server.stop()
        for path in server.data.glob("catalog.db*"):
            path.unlink()
        argv = [ENTREPOT, "admin", "--data", str(server.data), "rebuild"]
        found = subprocess.run(argv, env=clean_env(), capture_output=True, text=True, check=True)
        name = found.stdout.splitlines()[0]
        server.start()
        argv = [skopeo, "inspect", "--tls-verify=false", "--raw", f"docker://{server.host}/{name}"]
        raw = subprocess.run(argv, capture_output=True, check=True).stdout
        assert json.loads(raw)["config"]["digest"] == pushed.config_digest
        assert server.fsck()["findings"] == []
