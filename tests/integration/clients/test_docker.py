"""Docker, its daemon included, pushes to entrepot and pulls from it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.clients.conftest import Pushed
from tests.integration.clients.proof import layers, manifest, prove
from tests.support.dockerd import Docker
from tests.support.images import image, push_image
from tests.support.processes import wait_until
from tests.support.server import RunningServer
from tests.support.wire import Wire

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def test_pull_tag_push_and_pull_again_keep_the_image(
    dockerd: Docker, registry: RunningServer, real_image: Pushed, wire: Wire
) -> None:
    dockerd.run("pull", real_image.name)
    config = manifest(wire, real_image.repository, real_image.tag).json()["config"]["digest"]
    assert dockerd.run("inspect", "-f", "{{.Id}}", real_image.name).stdout.strip() == config
    pushed = f"{registry.host}/comps/prod/debian:1.15"
    dockerd.run("tag", real_image.name, pushed)
    said = dockerd.run("push", pushed).stdout
    digest = said.rsplit("digest: ", 1)[1].split()[0]
    assert prove(wire, "comps/prod/debian", "1.15") == {"manifest": digest, "config": config}
    dockerd.run("rmi", "-f", pushed, real_image.name)
    by_digest = f"{registry.host}/comps/prod/debian@{digest}"
    dockerd.run("pull", by_digest)
    assert dockerd.run("inspect", "-f", "{{.Id}}", by_digest).stdout.strip() == config
    dockerd.run("rmi", "-f", by_digest)


def test_each_manifest_docker_fetches_is_one_pull(
    dockerd: Docker, registry: RunningServer, wire: Wire
) -> None:
    """It asks HEAD by tag, then GET by digest, each on a connection of its own, so that another worker may
    get the second. What it still has it does not fetch again.
    """
    push_image(wire, "comps/counted", "1", image([{"counted": b"by its tag"}]))
    name = f"{registry.host}/comps/counted:1"
    for _ in range(3):
        dockerd.run("pull", "-q", name)
        dockerd.run("rmi", name)

    def pulls() -> int:
        return int(wire("GET", "/api/v1/repositories/comps%2Fcounted/tags/1").json()["pulls"])

    def fetched() -> int:
        return registry.log.read_text().count('"method":"GET","path":"/v2/comps/counted/manifests/sha256:')

    wait_until(lambda: pulls() == fetched() > 0, what="the pulls to be written down")


def test_a_pulled_image_runs(dockerd: Docker, real_image: Pushed) -> None:
    dockerd.run("pull", "-q", real_image.name)
    said = dockerd.run("run", "--rm", "--network=none", real_image.name, "cat", "/opt/greeting.txt")
    assert said.stdout == "hello from a layer\n"


def test_a_second_push_sends_no_layer(dockerd: Docker, registry: RunningServer, real_image: Pushed) -> None:
    dockerd.run("pull", "-q", real_image.name)
    again = f"{registry.host}/comps/again:1"
    dockerd.run("tag", real_image.name, again)
    first = dockerd.run("push", again).stdout
    second = dockerd.run("push", again).stdout
    assert second.count("Layer already exists") == 3
    assert first.rsplit("digest: ", 1)[1] == second.rsplit("digest: ", 1)[1]
    dockerd.run("rmi", again)


def test_an_image_built_from_scratch_is_pushed(
    dockerd: Docker, registry: RunningServer, scratch: Path, wire: Wire
) -> None:
    (scratch / "Dockerfile").write_text("FROM scratch\nCOPY data.txt /\nLABEL made=here\n")
    name = f"{registry.host}/comps/built:1"
    dockerd.run("build", "-q", "-t", name, str(scratch))
    dockerd.run("push", name)
    prove(wire, "comps/built", "1")
    assert len(layers(wire, "comps/built", "1")) == 1
    dockerd.run("rmi", name)


def test_search_lists_what_the_registry_holds(
    dockerd: Docker, registry: RunningServer, real_image: Pushed
) -> None:
    said = dockerd.run("search", f"{registry.host}/debian").stdout
    assert real_image.repository in said


def test_a_missing_tag_is_said_so(dockerd: Docker, registry: RunningServer) -> None:
    done = dockerd.run("pull", f"{registry.host}/comps/debian:nothere", check=False)
    assert done.returncode == 1
    assert "not found" in done.stderr or "manifest unknown" in done.stderr


def test_docker_manifest_reads_an_index(dockerd: Docker, multi_platform: Pushed) -> None:
    said = dockerd.run("manifest", "inspect", "--insecure", multi_platform.name).stdout
    assert '"arm64"' in said


def test_buildkit_builds_on_an_image_of_ours(
    dockerd: Docker, registry: RunningServer, real_image: Pushed, scratch: Path, wire: Wire
) -> None:
    (scratch / "Dockerfile").write_text(
        f"FROM {real_image.name}\nCOPY data.txt /opt/\nRUN cat /opt/data.txt\n"
    )
    name = f"{registry.host}/comps/buildkit:1"
    # The client that comes with Debian's daemon speaks BuildKit without a plug-in.
    client = replace(dockerd, program="/usr/bin/docker", extra={"DOCKER_BUILDKIT": "1"})
    client.run("build", "-q", "--network=none", "-t", name, str(scratch))
    client.run("push", name)
    prove(wire, "comps/buildkit", "1")
    bottom = layers(wire, real_image.repository, real_image.tag)
    assert layers(wire, "comps/buildkit", "1")[: len(bottom)] == bottom
    dockerd.run("rmi", name)
