"""The SQLite catalog is copied all the time, and comes back from the copy on a bare machine."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.support.images import image, push_image
from tests.support.processes import wait_until
from tests.support.seaweedfs import S3Location
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire


def copied(server: RunningServer) -> dict[str, object]:
    with contextlib.suppress(FileNotFoundError):
        return dict(json.loads((server.data / "catalog.db.copied").read_text()))
    return {"until": 0.0, "problem": ""}


def wait_copied(server: RunningServer, moment: float | None = None) -> None:
    wanted = time.time() if moment is None else moment
    wait_until(lambda: float(str(copied(server)["until"])) >= wanted, what="the copy", timeout_s=60)


def litestream_of(server: RunningServer) -> int | None:
    """Its process id."""
    assert server.process is not None
    for child in _children(server.process.pid):
        for grandchild in _children(child):
            with contextlib.suppress(OSError):
                if "litestream" in Path(f"/proc/{grandchild}/cmdline").read_text():
                    return grandchild
    return None


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def forget_catalog(server: RunningServer) -> None:
    """As if the disk had burnt, but for the blobs."""
    for path in server.data.glob("*catalog.db*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def copying(folder: Path) -> Iterator[tuple[RunningServer, str]]:
    place = f"file://{folder}/copy"
    with running_server(folder, env={"ENTREPOT_CATALOG_COPY": place}, workers=1) as server:
        yield server, place


def push(server: RunningServer, tag: str) -> bytes:
    made = image([{"content": tag.encode() + os.urandom(8)}])
    push_image(Wire(server.port), "team/app", tag, made)
    return made.manifest


def pulled(server: RunningServer, tag: str) -> bytes:
    return Wire(server.port)("GET", f"/v2/team/app/manifests/{tag}").body


def test_nothing_that_was_copied_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    """kill -9 of Litestream, of the server, of both; then the catalog is gone. It happens twice in a row."""
    pushed: dict[str, bytes] = {}
    with copying(tmp_path) as (server, place):
        for life in ("first", "second"):
            pushed[life] = push(server, life)
            wait_until(lambda: litestream_of(server) is not None, what="litestream")
            killed = litestream_of(server)
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            pushed[f"{life}-killed"] = push(server, f"{life}-killed")
            server.kill()
            server.start()
            pushed[f"{life}-again"] = push(server, f"{life}-again")
            wait_copied(server)
            server.kill()
            forget_catalog(server)
            done = server.admin("restore", "--from-copy", place)
            assert f"restored 1 repository, {len(pushed)} tags" in done.stdout, (done.stdout, life)
            server.start()
            for tag, raw in pushed.items():
                assert pulled(server, tag) == raw, tag
        assert server.fsck()["findings"] == []


def test_back_to_a_time_and_what_is_absent_is_named(tmp_path: Path) -> None:
    with copying(tmp_path) as (server, place):
        old = push(server, "v1")
        wait_copied(server)
        then = datetime.now(UTC)
        wait_copied(server)
        push(server, "v1")
        wait_copied(server)
        push(server, "last")
        server.stop()  # what was acknowledged last is in the copy all the same
        forget_catalog(server)
        layer = str(json.loads(old)["layers"][0]["digest"]).partition(":")[2]
        next((server.data / "blobs").rglob(f"{layer}.*")).unlink()
        newest = server.admin("restore", "--from-copy", place, check=False).stdout
        assert "restored 1 repository, 2 tags" in newest
        assert f"absent, push it again: sha256:{layer}\n" in newest  # no tag needs it by then
        refused = server.admin("restore", "--from-copy", place, check=False)
        assert "--overwrite" in refused.stderr
        at = server.admin(
            "restore", "--from-copy", place, "--overwrite", "--at", then.isoformat(), check=False
        )
        assert at.returncode == 1
        assert f"sha256:{layer} (team/app:v1)" in at.stdout
        assert "restored 1 repository, 1 tag;" in at.stdout
        server.start()
        assert pulled(server, "v1") == old
        assert Wire(server.port)("HEAD", f"/v2/team/app/blobs/sha256:{layer}").status == 404


def test_figures_are_told_while_it_copies(tmp_path: Path) -> None:
    with copying(tmp_path) as (server, _place):
        wait_until(lambda: litestream_of(server) is not None, what="litestream")

        def told() -> bytes:
            answer = Wire(server.port)("GET", "/metrics")
            assert answer.status == 200
            return answer.body

        wait_until(lambda: b"entrepot_catalog_copy_lag_seconds" in told(), what="the lag", timeout_s=60)


def test_into_the_blobs_own_bucket(tmp_path: Path, s3_location: S3Location) -> None:
    """Another prefix of the bucket that has the blobs; then the machine is a bare one."""
    place = s3_location
    env = {
        "ENTREPOT_STORAGE_URL": f"s3://{place.bucket}/{place.prefix}/blobs",
        "ENTREPOT_STORAGE_ENDPOINT": place.endpoint,
        "ENTREPOT_STORAGE_REGION": "us-east-1",
        "ENTREPOT_STORAGE_ACCESS_KEY_ID": place.access_key,
        "ENTREPOT_STORAGE_SECRET_ACCESS_KEY": place.secret_key,
        "ENTREPOT_STORAGE_ALLOW_HTTP": "1",
    }
    copy = f"s3://{place.bucket}/{place.prefix}/catalog"
    with running_server(tmp_path / "old", env={**env, "ENTREPOT_CATALOG_COPY": copy}, workers=1) as old:
        raw = push(old, "v1")
        wait_copied(old)
        old.kill()
    with running_server(tmp_path / "new", env=env, workers=1, start=False) as new:
        done = new.admin("restore", "--from-copy", copy)
        assert "restored 1 repository, 1 tag; 2 of 2 blobs are there" in done.stdout
        new.start()
        assert pulled(new, "v1") == raw


def test_a_place_that_is_gone_stops_nobody_and_is_told(tmp_path: Path) -> None:
    with copying(tmp_path) as (server, _):
        push(server, "v1")
        wait_copied(server)
        (tmp_path / "copy").rename(tmp_path / "away")
        (tmp_path / "copy").write_bytes(b"")
        raw = push(server, "v2")
        wait_until(lambda: copied(server)["problem"], what="the problem", timeout_s=60)
        assert pulled(server, "v2") == raw
        told = server.admin("doctor", check=False).stdout
        assert "copy" in told
        (tmp_path / "copy").unlink()
        (tmp_path / "away").rename(tmp_path / "copy")
        wait_copied(server)
        assert copied(server)["problem"] == ""


def test_a_copy_that_could_not_be_restored_is_begun_anew(tmp_path: Path) -> None:
    """Somebody has removed files from it; that is told, and mended."""
    with copying(tmp_path) as (server, place):
        raw = push(server, "v1")
        wait_copied(server)
        server.stop()
        files = sorted((tmp_path / "copy" / "ltx").rglob("*.ltx"))
        for path in [path for path in files if path.name.startswith("0000000000000001-")]:
            path.unlink()
        server.start()
        wait_copied(server)
        assert "begun anew" in server.log.read_text()
        server.kill()
        forget_catalog(server)
        assert "1 tag" in server.admin("restore", "--from-copy", place).stdout
        server.start()
        assert pulled(server, "v1") == raw


def test_a_new_registry_does_not_copy_over_one_that_is_to_come_back(tmp_path: Path) -> None:
    """The machine was made anew, and started before anything was restored."""
    with copying(tmp_path) as (server, place):
        raw = push(server, "v1")
        wait_copied(server)
        server.kill()
        shutil.rmtree(server.data)
        server.start()
        wait_until(lambda: copied(server)["problem"], what="the problem", timeout_s=60)
        assert "another registry" in str(copied(server)["problem"])
        server.stop()
        shutil.rmtree(server.data)
        assert "1 tag" in server.admin("restore", "--from-copy", place, check=False).stdout
        server.start()
        assert pulled(server, "v1") == raw


def test_a_place_that_does_not_do_is_refused_at_start(tmp_path: Path) -> None:
    for place in ("ftp://x/y", "file:///", f"file://{tmp_path}/data/copy", "s3://bucket"):
        with running_server(tmp_path, env={"ENTREPOT_CATALOG_COPY": place}, start=False) as server:
            done = subprocess.run(server.argv, env=server.env, capture_output=True, text=True, timeout=60)
            assert done.returncode != 0
            assert "catalog.copy" in done.stderr
            assert "Traceback" not in done.stderr
