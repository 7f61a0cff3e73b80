"""manifest create, annotate, inspect, push, rm: one name for several platforms, accepted by other
programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.containers.conftest import Box, Podman
from tests.support.dockerd import Docker
from tests.support.programs import require_program
from tests.support.server import RunningServer, running_server

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path / "registry") as server:
        yield server


def push_platforms(box: Box, host: str, *platforms: str) -> list[str]:
    """Images for several platforms under one repository each; their names."""
    names = []
    for platform in platforms:
        name = f"{host}/parts/{platform.replace('/', '-')}:1"
        box.run(
            "mutate",
            "tiny:1",
            "-t",
            name,
            "--platform",
            f"linux/{platform}",
            "--cmd",
            f"sh -c 'echo {platform}'",
        )
        box.run("push", "-q", name)
        names.append(name)
    return names


def test_an_index_made_step_by_step_is_accepted_by_docker_podman_and_skopeo(
    box: Box, registry: RunningServer, dockerd: Docker, podman: Podman
) -> None:
    host = registry.host
    amd, arm = push_platforms(box, host, "amd64", "arm64")
    multi = f"{host}/team/multi:1"
    assert box.output("manifest", "create", multi, amd) == f"Created manifest list {multi}"
    message = box.run("manifest", "create", multi, arm, code=1).stderr
    assert message == "refusing to amend an existing manifest list with no --amend flag\n"
    box.run("manifest", "create", "--amend", multi, arm)
    assert box.run("manifest", "annotate", multi, arm, "--variant", "v8").stdout == ""
    shown = json.loads(box.output("manifest", "inspect", multi))
    assert [entry["platform"] for entry in shown["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v8"},
    ]
    verbose = json.loads(box.output("manifest", "inspect", "-v", multi))
    assert [sorted(entry) for entry in verbose] == [["Descriptor", "OCIManifest", "Raw", "Ref"]] * 2
    *parts, digest = box.output("manifest", "push", "-p", multi).splitlines()
    assert [line.startswith(f"Pushed ref {host}/team/multi@sha256:") for line in parts] == [True, True]
    assert box.run("manifest", "push", multi, code=1).stderr == f"No such manifest: {multi}\n"
    assert json.loads(box.output("manifest", "inspect", multi)) == shown

    dockerd.run("pull", "-q", multi)
    assert dockerd.run("run", "--rm", "--network=none", multi).stdout == "amd64\n"
    dockerd.run("rmi", "-f", multi)
    dockerd.run("pull", "-q", "--platform", "linux/arm64", multi)
    assert dockerd.run("image", "inspect", "-f", "{{.Architecture}}", multi).stdout == "arm64\n"
    dockerd.run("rmi", "-f", multi)
    pulled = podman("pull", "-q", "--tls-verify=false", "--platform=linux/arm64/v8", multi)
    assert pulled.returncode == 0, pulled.stderr
    assert podman("inspect", "-f", "{{.Architecture}}", multi).stdout == "arm64\n"
    inspected = subprocess_output(
        require_program("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{multi}"
    )
    assert json.loads(inspected)["manifests"][1]["platform"]["variant"] == "v8"
    assert box.output("pull", "-q", "--platform", "linux/arm64", multi) == multi
    assert digest.startswith("sha256:")


def subprocess_output(*argv: str) -> bytes:
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=120).stdout


def test_a_list_of_docker_images_has_the_digest_that_docker_gives_it(
    box: Box, registry: RunningServer, dockerd: Docker
) -> None:
    images = []
    for architecture in ("amd64", "arm64"):
        name = f"{registry.host}/dockers/app:{architecture}"
        dockerd.run("import", "--platform", f"linux/{architecture}", str(box.tiny_tar), name)
        dockerd.run("push", "-q", name)
        dockerd.run("rmi", name)
        images.append(name)
    said = []
    for run in (dockerd.run, box.run):
        multi = f"{registry.host}/dockers/multi:1"
        run("manifest", "create", "--insecure", multi, *images)
        run(
            "manifest",
            "annotate",
            "--variant",
            "v8",
            "--os-version",
            "1",
            "--os-features",
            "a,b",
            multi,
            images[1],
        )
        shown = run("manifest", "inspect", "-v", "--insecure", multi).stdout
        said.append((shown, run("manifest", "push", "-p", "--insecure", multi).stdout))
    assert said[0] == said[1]


def test_create_push_in_one_step_takes_indexes_archives_and_the_store(
    box: Box, registry: RunningServer, tmp_path: Path
) -> None:
    host = registry.host
    amd, arm = push_platforms(box, host, "amd64", "arm64")
    base = f"{host}/team/base:1"
    box.run("manifest", "create", "--push", "--annotation", "index:org.example.kept=yes", base, amd, arm)
    box.run("mutate", "tiny:1", "-t", "local:riscv", "--platform", "linux/riscv64")
    box.run("mutate", "tiny:1", "-t", "local:s390x", "--platform", "linux/s390x")
    box.run("save", "--archive-format", "oci", "-o", "s390x.tar", "local:s390x")
    with running_server(tmp_path / "other") as other:
        target = f"{other.host}/elsewhere/all:2"
        sources = (base, "local:riscv", f"oci-archive:{box.home / 's390x.tar'}")
        *_, digest = box.output("manifest", "create", "--push", target, *sources).splitlines()
        index = json.loads(box.output("manifest", "inspect", target))
        assert [entry["platform"]["architecture"] for entry in index["manifests"]] == [
            "amd64", "arm64", "riscv64", "s390x",
        ]  # fmt: skip
        assert index["annotations"] == {"org.example.kept": "yes"}
        assert (
            digest
            in subprocess_output(
                require_program("skopeo"),
                "inspect",
                "--tls-verify=false",
                "-f",
                "{{.Digest}}",
                f"docker://{target}",
            ).decode()
        )
        box.run("pull", "-q", "--platform", "linux/s390x", target)
    assert box.run("manifest", "inspect", target + "-gone", "--insecure", code=1).stderr
    assert list((box.store / "entrepot").glob("manifests/*.json")) == []


def test_mistakes_are_answered_in_dockers_words(box: Box, registry: RunningServer) -> None:
    host = registry.host
    (amd,) = push_platforms(box, host, "amd64")
    name = f"{host}/x/list:1"
    assert box.run("manifest", "rm", name, code=1).stderr == f"No such manifest: {name}\n"
    assert (
        box.run("manifest", "inspect", f"{host}/x/nope:1", code=1).stderr
        == f"no such manifest: {host}/x/nope:1\n"
    )
    box.run("manifest", "create", name, amd)
    done = box.run("manifest", "annotate", name, f"{host}/x/other:1", "--arch", "arm64", code=1)
    assert done.stderr == f"manifest for image {host}/x/other:1 does not exist in {name}\n"
    done = box.run("manifest", "annotate", name, amd, "--arch", "bogus", code=1)
    assert done.stderr == "manifest entry for image has unsupported os/arch combination: /bogus\n"
    box.run("manifest", "annotate", name, amd, "--os", "windows", "--arch", "amd64", "--os-version", "10.0",
            "--os-features", "win32k,other")  # fmt: skip
    platform = json.loads(box.output("manifest", "inspect", name))["manifests"][0]["platform"]
    assert platform == {"architecture": "amd64", "os": "windows", "os.version": "10.0",
                        "os.features": ["win32k", "other"]}  # fmt: skip
    assert box.run("manifest", "rm", name).stdout == ""
