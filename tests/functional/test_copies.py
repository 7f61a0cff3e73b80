"""`copy`, `sync`, `tags`, `ls` and `delete` against a real registry."""

import itertools
import json

import pytest

from tests.support.images import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    digest_of,
    image,
    index,
    push_blob,
    push_image,
)
from tests.support.server import RunningServer
from tests.support.tool import Tool
from tests.support.wire import Wire

AMD = image(({"a": b"amd" * 2000},))
ARM = image(({"a": b"arm"},), architecture="arm64")
BOTH = index(
    [(AMD, {"os": "linux", "architecture": "amd64"}), (ARM, {"os": "linux", "architecture": "arm64"})]
)


@pytest.fixture(scope="module", autouse=True)
def content(hub: RunningServer) -> str:
    """`src/app`: tags 1, 2 and multi, a referrer of `multi` (its digest is returned) and a cosign tag."""
    wire = Wire(hub.port)
    push_image(wire, "src/app", "1", AMD)
    push_image(wire, "src/app", "2", ARM)
    wire("PUT", "/v2/src/app/manifests/multi", body=BOTH, headers={"Content-Type": OCI_INDEX})
    blob = push_blob(wire, "src/app", b"{}")
    empty = {"mediaType": OCI_CONFIG, "digest": blob, "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": empty, "layers": [empty]}
    subject = {"mediaType": OCI_INDEX, "digest": digest_of(BOTH), "size": len(BOTH)}
    signature = json.dumps(manifest | {"artifactType": "application/x", "subject": subject}).encode()
    old = json.dumps(manifest).encode()
    tag = f"sha256-{digest_of(BOTH).removeprefix('sha256:')}.sig"
    for reference, raw in ((digest_of(signature), signature), (tag, old)):
        wire("PUT", f"/v2/src/app/manifests/{reference}", body=raw, headers={"Content-Type": OCI_MANIFEST})
    wire.close()
    return digest_of(signature)


def test_copy_keeps_the_index_and_takes_referrers_along(tool: Tool, hub: RunningServer, content: str) -> None:
    source, goal = f"{hub.host}/src/app:multi", f"{hub.host}/copied/app:1"
    assert "would copy" in tool.out("copy", "--dry-run", source, goal)
    assert tool.out("copy", "-q", "--referrers", source, goal) == f"{digest_of(BOTH)}\n"
    wire = Wire(hub.port)
    assert wire("GET", "/v2/copied/app/manifests/1").body == BOTH
    listed = json.loads(wire("GET", f"/v2/copied/app/referrers/{digest_of(BOTH)}").body)
    wire.close()
    assert [one["digest"] for one in listed["manifests"]] == [content]
    assert [tag[:7] for tag in tool.out("tags", f"{hub.host}/copied/app").split()] == ["1", "sha256-"]
    assert "is there already" in tool.out("copy", "--dry-run", source, goal)


def test_copy_between_all_kinds_of_places_keeps_digests(tool: Tool, hub: RunningServer) -> None:
    steps = [
        f"{hub.host}/src/app:multi", "oci:layout:one", "oci-archive:a.tar:two", "store:kept:1",
        "oci:layout:three", f"{hub.host}/round/trip:1",
    ]  # fmt: skip
    for source, goal in itertools.pairwise(steps):
        assert tool.out("copy", "-q", source, goal) == f"{digest_of(BOTH)}\n"
    assert tool.out("tags", "oci:layout").split() == ["one", "three"]
    tool.run("copy", "--platform", "linux/arm64", "store:kept:1", "docker-archive:d.tar")
    assert tool.out("tags", "docker-archive:d.tar") == "kept:1\n"
    assert tool.out("copy", "-q", "docker-archive:d.tar", "oci:layout:arm") == f"{ARM.digest}\n"


def test_sync_copies_what_changed_and_nothing_else(tool: Tool, hub: RunningServer) -> None:
    source, goal = f"{hub.host}/src/app", f"{hub.host}/mirror/app"
    foreseen = tool.out("sync", "--dry-run", source, goal).splitlines()
    assert foreseen[-1].startswith("3 to copy")
    assert tool.err("tags", goal).startswith("Error: ")
    assert tool.out("sync", "--tags", "[12]", source, goal).splitlines()[-1].startswith("2 copied")
    again = [json.loads(line) for line in tool.out("sync", "--format", "json", source, goal).splitlines()]
    assert {one["Destination"].rpartition(":")[2]: one["Changed"] for one in again} == {
        "1": False, "2": False, "multi": True,
    }  # fmt: skip
    assert tool.out("tags", goal).split() == ["1", "2", "multi"]


def test_sync_of_a_list_keeps_going(tool: Tool, hub: RunningServer) -> None:
    lines = [
        "# one of these is wrong",
        f"{hub.host}/no/such {hub.host}/x/y",
        f"{hub.host}/src/app oci:synced '1'",
    ]
    (tool.home / "list.txt").write_text("\n".join(lines))
    stopped = tool.run("sync", "--from", "list.txt", code=1)
    assert stopped.stderr.count(b"\n") == 1
    done = tool.run("sync", "--from", "list.txt", "--keep-going", code=1)
    assert done.stderr.startswith(f"Error: {hub.host}/no/such: ".encode())
    assert done.stdout.decode().splitlines()[-1].endswith("1 failed")
    assert tool.out("tags", "oci:synced") == "1\n"


def test_sync_of_a_whole_prefix(tool: Tool, hub: RunningServer) -> None:
    tool.run("sync", f"docker://{hub.host}/src/", f"docker://{hub.host}/all/of/it/")
    assert "all/of/it/app" in tool.out("ls", hub.host).split()
    assert tool.out("ls", f"{hub.host}/all/") == "all/of/it/app\n"
    assert tool.out("tags", f"{hub.host}/all/of/it/app", "[0-9]").split() == ["1", "2"]


def test_delete_takes_a_tag_or_a_manifest(tool: Tool, hub: RunningServer) -> None:
    name = f"{hub.host}/gone/app"
    tool.run("sync", f"{hub.host}/src/app", name)
    tool.run("copy", f"{hub.host}/src/app:1", f"{name}:also")
    assert tool.out("delete", f"{name}:2") == f"Deleted: docker://{name}:2\n"
    assert tool.out("tags", name).split() == ["1", "also", "multi"]
    tool.run("delete", f"{name}:multi")
    tool.run("delete", "--manifest", f"{name}:1")
    assert "nothing" in tool.err("delete", "docker-archive:x.tar")
    assert tool.err("delete", f"{name}:nope").startswith("Error: ")


def test_archives_hold_the_platforms_asked_for(tool: Tool, hub: RunningServer) -> None:
    name = f"{hub.host}/src/app:multi"
    tool.run("pull", "-q", "--all-platforms", name)
    tool.run("save", "-o", "both.tar", "--platform", "linux/amd64,linux/arm64", name)
    tool.run("save", "-o", "arm.tar", "--platform", "linux/arm64", name)
    assert "no suitable export target found for platform linux/arm64, linux/s390x" in tool.err(
        "save", "-o", "none.tar", "--platform", "linux/arm64", "--platform", "linux/s390x", name
    )
    tool.run("rmi", "-f", name)
    both = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    assert tool.out("load", "-i", "both.tar", *both) == f"Loaded image: {name}\n"
    tool.run("tag", name, f"{hub.host}/loaded/app:1")
    tool.run("push", f"{hub.host}/loaded/app:1")
    wire = Wire(hub.port)
    pushed = json.loads(wire("GET", "/v2/loaded/app/manifests/1").body)
    wire.close()
    assert [one["digest"] for one in pushed["manifests"]] == [AMD.digest, ARM.digest]
    assert f"image {name} in the archive is for linux/arm64, not for linux/amd64" in tool.err(
        "load", "-i", "arm.tar", "--platform", "linux/amd64"
    )
    tool.run("load", "-i", "arm.tar", "--platform", "linux/arm64")
    assert tool.out("inspect", "-f", "{{.Architecture}}", name) == "arm64\n"
