"""Any registry comes in over its API."""

import json
from pathlib import Path
from typing import Any

from tests.integration.moving.trees import fill
from tests.support.distribution import WireRepository, digest
from tests.support.images import image, push_image
from tests.support.peers import docker_registry
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire


def moved(server: RunningServer, *args: str, code: int = 0) -> dict[str, Any]:
    done = server.admin("import", "registry", *args, "--json", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def test_a_docker_registry_comes_in(tmp_path: Path) -> None:
    """Tags with all they need; what has no tag there can't be found over the API."""
    fill(tmp_path / "old")
    with docker_registry(tmp_path / "old") as old, running_server(tmp_path, start=False) as server:
        server.admin("migrate")
        report = moved(server, old.url)
        assert (report["manifests"], report["tags"], report["left"]) == (8, 6, [])
        assert moved(server, old.url, "--verify")["differences"] == []


def test_another_entrepot_comes_in_with_signatures(tmp_path: Path) -> None:
    """Late ones too; an image without a blob is told, and all else comes."""
    with (
        running_server(tmp_path / "old", workers=1) as old,
        running_server(tmp_path / "new", start=False) as new,
    ):
        new.admin("migrate")
        wire = Wire(old.port)
        repository, subject = WireRepository(wire, "team/app"), image()
        push_image(wire, "team/app", "v1", subject)
        assert moved(new, old.host)["manifests"] == 1
        signature = repository.put_image(subject=repository.describe(subject.manifest))
        lacking = image([{"lacks": b"this"}])
        push_image(wire, "team/lacks", "v1", lacking)
        phys = next((old.data / "blobs").rglob(f"{list(lacking.blobs)[1].partition(':')[2]}.*"))
        phys.unlink()
        report = moved(new, old.host, code=1)
        assert [one["what"].partition("@")[0] for one in report["left"]] == ["team/lacks"]
        assert (report["manifests"], report["unchanged"]) == (1, 1)
        new.start()
        listed = Wire(new.port)("GET", f"/v2/team/app/referrers/{subject.digest}").json()["manifests"]
        assert [one["digest"] for one in listed] == [digest(signature)]
