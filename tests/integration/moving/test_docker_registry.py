"""A Docker Registry's storage comes in, byte for byte, whatever state it is in."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.integration.moving.trees import Filled, damage, fill
from tests.support.images import image, push_image
from tests.support.peers import docker_registry
from tests.support.processes import wait_until
from tests.support.programs import require_program
from tests.support.seaweedfs import S3Location
from tests.support.server import ENTREPOT, RunningServer, running_server
from tests.support.wire import Wire

ANY = {
    "Accept": ", ".join(
        f"application/vnd.{name}+json"
        for name in (
            "oci.image.manifest.v1",
            "oci.image.index.v1",
            "docker.distribution.manifest.v2",
            "docker.distribution.manifest.list.v2",
        )
    )
}


def moved(server: RunningServer, where: Path | str, *args: str, code: int = 0) -> dict[str, Any]:
    done = server.admin("import", "docker-registry", str(where), "--json", *args, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return dict(json.loads(done.stdout))


def assert_same(server: RunningServer, filled: Filled) -> None:
    """Everything is pulled back as it was pushed there."""
    wire = Wire(server.port)
    for (repository, reference), raw in filled.manifests.items():
        got = wire("GET", f"/v2/{repository}/manifests/{reference}")
        assert (got.status, got.body) == (200, raw), (repository, reference)
    for (repository, digest), data in filled.blobs.items():
        assert wire("GET", f"/v2/{repository}/blobs/{digest}").body == data


def test_everything_comes_in_and_only_once(tmp_path: Path) -> None:
    """Into a registry that is stopped; again while it runs; what is done here since stays."""
    filled = fill(tmp_path / "old")
    before = {path: path.stat().st_mtime_ns for path in filled.root.rglob("*")}
    with running_server(tmp_path, workers=1) as server:
        server.stop()
        plan = moved(server, filled.root, "--plan")
        assert (plan["repositories"], plan["manifests"], plan["tags"]) == (4, 9, 6)
        first = moved(server, filled.root)
        assert first["left"] == []
        counted = ("repositories", "manifests", "tags", "blobs", "bytes", "unused")
        assert {name: first[name] for name in counted} == {name: plan[name] for name in counted}
        assert first["unused"] == 3  # the deleted image's blobs, and one that never was an image's
        server.start()
        assert_same(server, filled)
        wire = Wire(server.port)
        referrers = wire("GET", f"/v2/team/app/referrers/{_child(filled)}").json()["manifests"]
        assert [one["artifactType"] for one in referrers] == ["application/vnd.example.signature"]
        again = moved(server, filled.root / "docker")
        assert (again["manifests"], again["tags"], again["blobs"], again["unchanged"]) == (0, 0, 0, 9)
        compared = moved(server, filled.v2, "--verify")
        assert compared["differences"] == []
        assert compared["tags"] == {"there": 6, "here": 6}
        assert compared["manifests"] == {"there": 9, "here": 9}

        newer = image([{"newer": b"here"}])
        push_image(wire, "team/app", "v1", newer)
        assert wire("DELETE", "/v2/team/app/manifests/docker").status == 202
        left = moved(server, filled.root, code=1)["left"]
        assert [one["what"] for one in left] == ["team/app:docker", "team/app:v1"]
        assert wire("GET", "/v2/team/app/manifests/v1").body == newer.manifest
        assert wire("GET", "/v2/team/app/manifests/docker").status == 404
        assert server.fsck()["findings"] == []
    assert {path: path.stat().st_mtime_ns for path in filled.root.rglob("*")} == before


def test_a_tag_that_moves_there_moves_here_too(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "old") as old, running_server(tmp_path, start=False) as server:
        server.admin("migrate")
        for content in (b"1", b"2"):
            made = image([{"a": content}])
            push_image(Wire(old.port), "team/app", "v1", made)
            assert moved(server, old.root)["tags"] == 1
            assert moved(server, old.root, "--verify")["tags"] == {"there": 1, "here": 1}


def test_what_can_not_come_is_named_and_all_else_comes(tmp_path: Path) -> None:
    filled = fill(tmp_path / "old")
    damage(filled)
    with running_server(tmp_path, workers=1) as server:
        planned = moved(server, filled.root, "--plan", code=1)
        report = moved(server, filled.root, code=1)
        told = [f"{one['what']}: {one['why']}" for one in report["left"]]
        assert len(told) == len(filled.lost), told
        for name in filled.lost:
            assert [line for line in told if line.startswith(name)], (name, told)
        assert len(planned["left"]) == len(told) - 2  # a plan reads no bytes of layers
        assert_same(server, filled)
        assert Wire(server.port)("GET", "/v2/broken/turned/manifests/v1").status == 404
        assert server.fsck()["findings"] == []
        differences = moved(server, filled.root, "--verify", code=1)["differences"]
        assert {one["what"].partition("@")[0].partition(":")[0] for one in differences} == {
            name.partition("@")[0].partition(":")[0] for name in filled.lost
        }


def test_files_are_shared_only_with_a_retired_registry(tmp_path: Path) -> None:
    filled = fill(tmp_path / "old")
    with running_server(tmp_path, start=False) as server:
        server.admin("migrate")
        one = moved(server, filled.root, "--project", "other")
        assert (one["repositories"], one["manifests"]) == (1, 1)
        assert set(one["ways"]) <= {"cloned", "copied"}
        rest = moved(server, filled.root, "--source-retired")
        assert (rest["manifests"], set(rest["ways"])) == (8, {"linked"})
        assert moved(server, filled.root, "--verify")["differences"] == []


def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    """kill -9 early and late: nothing is half here, and only what was on its way is fetched twice."""
    with docker_registry(tmp_path / "old") as old:
        wire = Wire(old.port)
        made = {f"r{n}": image([{"a": os.urandom(400_000)}, {"b": os.urandom(400_000)}]) for n in range(24)}
        for name, one in made.items():
            push_image(wire, f"team/{name}", "v1", one)
        root = old.root
    with running_server(tmp_path, workers=1) as server:
        argv = [ENTREPOT, "admin", "--data", str(server.data), "import", "docker-registry", str(root)]

        def stored() -> int:
            return sum(1 for _ in (server.data / "blobs").glob("sha256/*/*"))

        for wanted in (5, 30):
            with subprocess.Popen(argv, env=server.env, stderr=subprocess.DEVNULL) as run:
                wait_until(lambda wanted=wanted: stored() >= wanted or run.poll() is not None, what="blobs")
                run.send_signal(signal.SIGKILL)
        before = stored()
        report = moved(server, root)
        assert report["left"] == []
        assert report["blobs"] <= 72 - before + 2 * 8  # at most what was on its way when it was killed
        wire = Wire(server.port)
        for name, one in made.items():
            assert wire("GET", f"/v2/team/{name}/manifests/v1").body == one.manifest
        assert moved(server, root, "--verify")["blobs"] == {"there": 72, "here": 72}


def test_docker_registry_serves_what_moves_out(tmp_path: Path) -> None:
    """Images of both formats, an index, a signature that clients find by its tag; skopeo copies from it."""
    filled = fill(tmp_path / "old")
    with running_server(tmp_path, start=False) as server:
        server.admin("migrate")
        moved(server, filled.root)
        tree = tmp_path / "new" / "registry"
        for _ in range(2):
            out = server.admin("export", "docker-registry", str(tree)).stdout
            assert "exported 4 repositories, 9 manifests, 6 tags" in out
        with docker_registry(tmp_path / "new") as new:
            wire = Wire(new.port)
            for (repository, reference), raw in filled.manifests.items():
                assert wire("GET", f"/v2/{repository}/manifests/{reference}", headers=ANY).body == raw
            for (repository, digest), data in filled.blobs.items():
                assert wire("GET", f"/v2/{repository}/blobs/{digest}").body == data
            assert sorted(wire("GET", "/v2/_catalog").json()["repositories"]) == sorted(
                {repository for repository, _ in filled.manifests}
            )
            child = _child(filled).replace(":", "-")
            (signature,) = wire("GET", f"/v2/team/app/manifests/{child}", headers=ANY).json()["manifests"]
            assert signature["artifactType"] == "application/vnd.example.signature"
            argv = [require_program("skopeo"), "copy", "--all", "--src-tls-verify=false"]
            argv += [f"docker://{new.host}/team/app:all", f"dir:{tmp_path / 'copied'}"]
            subprocess.run(argv, check=True, capture_output=True)
        assert (tmp_path / "copied" / "manifest.json").read_bytes() == filled.manifests["team/app", "all"]


def test_what_is_no_registry_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with running_server(tmp_path, start=False) as server:
        server.admin("migrate")
        for kind, name in (
            ("docker-registry", str(tmp_path / "empty")),
            ("docker-registry", "ftp://x/y"),
            ("registry", "https://x/y"),
        ):
            done = server.admin("import", kind, name, check=False)
            assert done.returncode != 0
            assert name in done.stderr
            assert "Traceback" not in done.stderr


def test_a_bucket_comes_in(tmp_path: Path, s3_location: S3Location) -> None:
    """docker-registry's own S3 driver fills it; what it comes to keeps its blobs in another prefix."""
    place = s3_location
    storage = (
        f's3: {{accesskey: "{place.access_key}", secretkey: "{place.secret_key}", region: us-east-1,'
        f' regionendpoint: "{place.endpoint}", bucket: "{place.bucket}", secure: false, v4auth: true,'
        f' rootdirectory: "/{place.prefix}/old"}}'
    )
    made = image([{"a": os.urandom(3_000_000)}, {"b": b"b"}])
    without = ("env", "-u", "AWS_CA_BUNDLE")
    with docker_registry(tmp_path / "old", storage=storage, prefix=without) as old:
        push_image(Wire(old.port), "team/app", "v1", made)
    env = {
        "ENTREPOT_STORAGE_URL": f"s3://{place.bucket}/{place.prefix}/new",
        "ENTREPOT_STORAGE_ENDPOINT": place.endpoint,
        "ENTREPOT_STORAGE_REGION": "us-east-1",
        "ENTREPOT_STORAGE_ACCESS_KEY_ID": place.access_key,
        "ENTREPOT_STORAGE_SECRET_ACCESS_KEY": place.secret_key,
        "ENTREPOT_STORAGE_ALLOW_HTTP": "1",
    }
    with running_server(tmp_path, env=env, start=False) as server:
        server.admin("migrate")
        where = f"s3://{place.bucket}/{place.prefix}/old"
        report = moved(server, where)
        assert (report["manifests"], report["blobs"], report["left"]) == (1, 3, [])
        assert moved(server, where, "--verify")["blobs"] == {"there": 3, "here": 3}
        assert server.fsck()["findings"] == []


def _child(filled: Filled) -> str:
    return str(json.loads(filled.manifests["team/app", "all"])["manifests"][0]["digest"])
