"""A registry whose parts are damaged: what it still does, what it tells, and what it mends by itself."""

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.journal import OCI_MANIFEST, Journal, Pusher
from tests.support.distribution import WireRepository
from tests.support.processes import wait_until
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(300)


def damage_catalog(server: RunningServer) -> None:
    """Flip bits in a page that a running registry does not need: the B-tree of an index."""
    path = server.data / "catalog.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma wal_checkpoint(truncate)")
        (page,) = database.execute(
            "select rootpage from sqlite_master where name = 'ix_tag_event_repo_id_old_at'"
        ).fetchone()
        (size,) = database.execute("pragma page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(byte ^ 0xFF for byte in os.pread(file.fileno(), 64, (page - 1) * size)))


def status(server: RunningServer) -> str:
    return str(Wire(server.port)("GET", "/readyz").json()["status"])


def test_damaged_catalog_is_read_and_not_written(tmp_path: Path) -> None:
    """B5: found in the background after the start; pulls go on, pushes hear why, a restore ends it."""
    journal = Journal()
    with running_server(tmp_path, env={"ENTREPOT_GC_INTERVAL": "200ms"}) as server:
        Pusher(server.port, journal, 1, repository="team/app").push_image()
        server.stop()
        shutil.copytree(server.data, tmp_path / "sound")
        damage_catalog(server)
        server.start()
        wait_until(lambda: status(server) == "read-only", what="the check to find it", timeout_s=30)
        assert journal.lost(server.port) == []
        refused = WireRepository(Wire(server.port), "team/app")("POST", "blobs/uploads/")
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) > 0
        assert "damaged" in refused.json()["errors"][0]["message"]
        path = f"/v2/team/app/blobs/{next(iter(journal.layers))[1]}"
        assert Wire(server.port)("HEAD", path).status == 200
        wait_until(lambda: "entrepot_read_only 1" in metrics(server), what="the alarm", timeout_s=30)
        assert "database" in {finding["kind"] for finding in server.fsck()["findings"]}
        server.restart()
        assert journal.lost(server.port) == []
        assert Wire(server.port)("POST", "/v2/team/app/blobs/uploads/").status == 503
        server.stop()
        for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
            (server.data / name).unlink(missing_ok=True)
        # Processes that close it at the same moment may each leave emptying the log to the other.
        for kept in (tmp_path / "sound").glob("catalog.db*"):
            shutil.copy(kept, server.data)
        server.start()
        Pusher(server.port, journal, 2, repository="team/app").push_image()
        assert journal.lost(server.port) == []
        assert server.fsck()["findings"] == []


def metrics(server: RunningServer) -> str:
    return Wire(server.port)("GET", "/metrics").body.decode()


def test_lost_blobs_come_back_from_another_registry(tmp_path: Path) -> None:
    """The scrub of a serving registry fetches by digest, verifies, and tells; so does fsck --repair."""
    replica, journal = Journal(), Journal()
    with running_server(tmp_path / "replica", workers=1) as other:
        settings = tmp_path / "settings.toml"
        settings.write_text(
            '[scrub]\ninterval = "200ms"\nevery = 0\n'
            f'[[repair.sources]]\nurl = "http://127.0.0.1:1/nobody"\n'
            f'[[repair.sources]]\nurl = "{other.url}/mirror"\n'
        )
        env = {"ENTREPOT_CONFIG": str(settings)}
        with running_server(tmp_path / "own", workers=1, env=env) as server:
            Pusher(server.port, journal, 1, repository="team/app").push_image()
            Pusher(other.port, replica, 1, repository="mirror/team/app").push_image()
            blobs = sorted(path for path in (server.data / "blobs").rglob("*") if path.is_file())
            blobs[0].unlink()
            blobs[1].write_bytes(b"\0" * blobs[1].stat().st_size)

            def repaired() -> bool:
                return bool(re.search(r"entrepot_scrub_repaired_total 2\b", metrics(server)))

            wait_until(repaired, what="the scrub to mend both", timeout_s=60)
            assert journal.lost(server.port) == []
            assert "entrepot_blobs_lost 0" in metrics(server)
            server.stop()
            blobs = sorted(path for path in (server.data / "blobs").rglob("*") if path.is_file())
            for path in blobs:
                path.unlink()
            report = json.loads(server.admin("fsck", "--repair", "--json").stdout)
            assert {finding["kind"] for finding in report["findings"]} == {"blob-missing"}
            assert all("brought back" in finding["repaired"] for finding in report["findings"])
            server.start()
            assert journal.lost(server.port) == []
            answer = Wire(server.port)("GET", "/v2/team/app/manifests/t1", headers={"accept": OCI_MANIFEST})
            assert answer.status == 200
