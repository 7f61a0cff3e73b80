"""`pull --at`: what a tag was at a time, from a served registry; others are not believed to know it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

import entrepot
from entrepot.client.errors import HistoryUnknown
from tests.functional.stub_registry import stub_registry
from tests.support.images import OCI_INDEX, Image, digest_of, image, index, push_image
from tests.support.server import RunningServer
from tests.support.tool import Tool
from tests.support.wire import Wire

FIRST = image(({"version": b"1"},))
SECOND = image(({"version": b"2"},))
OTHER = image(({"version": b"1 for arm"},), architecture="arm64")


def platforms(*images: Image) -> bytes:
    pairs = zip(images, ("amd64", "arm64"), strict=True)
    return index([(one, {"os": "linux", "architecture": name}) for one, name in pairs])


def moment() -> str:
    """Now; what the registry does next is later."""
    return datetime.now(UTC).isoformat()


@pytest.fixture
def moved(hub: RunningServer, request: pytest.FixtureRequest) -> tuple[str, str, Wire]:
    """A name that was an index until the time given, and is another image now; the index is deleted."""
    repository = f"history/{request.node.name.partition('[')[0]}"
    wire = Wire(hub.port)
    for one in (FIRST, OTHER):
        push_image(wire, repository, "part", one)
    raw = platforms(FIRST, OTHER)
    wire("PUT", f"/v2/{repository}/manifests/v1", body=raw, headers={"Content-Type": OCI_INDEX})
    then = moment()
    push_image(wire, repository, "v1", SECOND)
    for gone in (digest_of(raw), FIRST.digest, OTHER.digest):
        assert wire("DELETE", f"/v2/{repository}/manifests/{gone}").status == 202
    return f"{hub.host}/{repository}:v1", then, wire


def test_a_tag_that_was_moved_and_deleted_is_pulled_as_it_was(
    tool: Tool, moved: tuple[str, str, Wire]
) -> None:
    name, then, _ = moved
    out = tool.out("pull", "--platform", "linux/amd64", "--at", then, name)
    assert f"Status: Downloaded the image of {then} for {name}" in out
    assert tool.out("images", "-q", "--no-trunc").strip() == FIRST.config_digest
    assert f"already that of {then}" in tool.out("pull", "--platform", "linux/amd64", "--at", then, name)
    assert "Downloaded newer image" in tool.out("pull", name)
    assert tool.out("inspect", "-f", "{{.Id}}", name).strip() == SECOND.config_digest


def test_every_platform_of_that_time_comes_with_its_index(tool: Tool, moved: tuple[str, str, Wire]) -> None:
    name, then, _ = moved
    tool.run("pull", "-q", "--all-platforms", "--at", then, name)
    tool.run("tag", name, name.replace(":v1", ":back"))
    tool.run("push", name.replace(":v1", ":back"))
    back = moved[2]("GET", f"/v2/{name.partition('/')[2].partition(':')[0]}/manifests/back")
    assert back.body == platforms(FIRST, OTHER)


def test_the_library_takes_times_of_any_zone(tool: Tool, moved: tuple[str, str, Wire]) -> None:
    name, then, _ = moved
    at = datetime.fromisoformat(then).astimezone(timezone(timedelta(hours=-9)))
    pulled = entrepot.pull(name, at=at, platform="linux/amd64", store=tool.store)
    assert str(pulled.image.id) == FIRST.config_digest
    with pytest.raises(entrepot.errors.NotFound, match="kept for 7 days"):
        entrepot.pull(name, at="2020-01-01", store=tool.store)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "yesterday", "busybox"), "'yesterday' is no time; write it as 2026-10-01"),
        (("--at", "2026-10-01", f"busybox@{FIRST.digest}"), "a digest is the same at any time"),
        (("--at", "2026-10-01", "-a", "busybox"), "--at asks about one tag"),
        (("--at", "2020-01-01", "nobody/home"), "was nothing at 2020-01-01T00:00:00"),
    ],
    ids=["no time", "digest", "all tags", "nothing then"],
)
def test_what_makes_no_sense_is_refused_in_words(tool: Tool, arguments: tuple[str, ...], said: str) -> None:
    done = tool.run("pull", *arguments, code=1)
    assert said in done.stderr.decode().replace("\n", "; ")


def test_a_registry_without_histories_is_not_taken_at_its_word(tool: Tool) -> None:
    with stub_registry(FIRST) as stub, pytest.raises(HistoryUnknown, match="does not keep what"):
        entrepot.pull(f"{stub.host}/some/app:v1", at="2026-10-01", store=tool.store)
