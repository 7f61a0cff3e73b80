"""What a person does in one sitting, from the first pull to the last rmi, against a real registry."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.support.images import OCI_INDEX, image, index, push_image
from tests.support.server import RunningServer
from tests.support.tool import Tool
from tests.support.wire import Wire

APP = image(({"bin/app": b"a" * 5000}, {"etc/app.conf": b"x"}), config={"Cmd": ["/bin/app"]})
ARM = image(({"bin/app": b"arm"},), architecture="arm64")


@pytest.fixture(scope="module", autouse=True)
def content(hub: RunningServer) -> None:
    wire = Wire(hub.port)
    push_image(wire, "library/app", "1", APP)
    push_image(wire, "library/app", "arm", ARM)
    both = index(
        [(APP, {"os": "linux", "architecture": "amd64"}), (ARM, {"os": "linux", "architecture": "arm64"})]
    )
    wire("PUT", "/v2/library/app/manifests/both", body=both, headers={"Content-Type": OCI_INDEX})
    wire.close()


def names(tool: Tool) -> list[str]:
    return sorted(tool.out("images", "--format", "{{.Repository}}:{{.Tag}}").split())


def test_from_a_pull_to_an_empty_store(tool: Tool) -> None:
    tool.out("pull", "app:1")
    tool.out("tag", "app:1", "mine:2")
    assert names(tool) == ["app:1", "mine:2"]
    tool.out("save", "--output", "saved.tar", "mine:2")
    tool.out("rmi", "app:1", "mine:2")
    assert names(tool) == []
    assert list((tool.store / "blobs" / "sha256").iterdir()) == []
    assert tool.out("load", "--input", "saved.tar") == "Loaded image: mine:2\n"
    assert tool.out("inspect", "--format", "{{.Id}}", "mine:2").strip() == APP.config_digest
    tool.out("rmi", "mine:2")
    assert names(tool) == []


def test_what_is_pushed_under_another_name_is_what_was_pulled(tool: Tool, hub: RunningServer) -> None:
    tool.out("pull", "app:1")
    goal = f"{hub.host}/team/app:9"
    tool.out("tag", "app:1", goal)
    assert f"9: digest: {APP.digest} size: {len(APP.manifest)}" in tool.out("push", goal)
    tool.out("rmi", goal, "app:1")
    assert f"Digest: {APP.digest}" in tool.out("pull", goal)
    assert tool.out("tags", f"{hub.host}/team/app").split() == ["9"]
    assert tool.out("delete", goal) != ""
    assert "not found" in tool.err("pull", goal)


def test_an_image_of_several_platforms_travels_whole(tool: Tool, hub: RunningServer) -> None:
    tool.out("pull", "--all-platforms", "app:both")
    tool.out("save", "-o", "both.tar", "app:both")
    with tarfile.open(tool.home / "both.tar") as archive:
        listed = json.load(archive.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
    assert [entry["mediaType"] for entry in listed] == [OCI_INDEX]
    tool.out("rmi", "app:both")
    tool.out("load", "-i", "both.tar")
    tool.out("tag", "app:both", f"{hub.host}/team/both:1")
    tool.out("push", f"{hub.host}/team/both:1")
    tool.out("copy", f"{hub.host}/team/both:1", "oci:out:1")
    digest = json.loads((tool.home / "out" / "index.json").read_bytes())["manifests"][0]["digest"]
    assert len(list((tool.home / "out" / "blobs" / "sha256").iterdir())) == 8
    manifest = json.loads(blob(tool.home / "out", digest).read_bytes())
    assert {entry["digest"] for entry in manifest["manifests"]} == {APP.digest, ARM.digest}


def test_two_copies_of_one_platform_are_one_image(tool: Tool) -> None:
    tool.out("pull", "--platform", "linux/arm64", "app:both")
    tool.out("pull", "app:arm")
    ids = tool.out("images", "--no-trunc", "--quiet").split()
    assert set(ids) == {ARM.config_digest}
    assert names(tool) == ["app:arm", "app:both"]


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")
