"""`files`, `cat`, `size`, `cp IMAGE:PATH -`: the same answers wherever an image is, and those of `export`."""

import hashlib
import io
import json
import tarfile

import pytest

from tests.support import tarballs
from tests.support.images import Image, image, push_image
from tests.support.server import RunningServer
from tests.support.tool import Tool
from tests.support.wire import Wire

BASE = tarballs.archive(
    tarballs.directory(b"etc/"),
    tarballs.file(b"etc/os-release", b"NAME=first\n"),
    tarballs.file(b"etc/passwd", b"root:x:0:0::/:\n"),
    tarballs.directory(b"usr/"),
    tarballs.directory(b"usr/lib/"),
    tarballs.file(b"usr/lib/big", b"b" * 100_000),
    tarballs.hard_link(b"usr/lib/same", b"usr/lib/big"),
    tarballs.symlink(b"lib", b"usr/lib"),
    tarballs.directory(b"cache/"),
    tarballs.file(b"cache/one", b"1" * 5000),
    tarballs.directory(b"gone/"),
    tarballs.file(b"gone/below", b"2" * 700),
)
MIDDLE = tarballs.archive(
    tarballs.directory(b"cache/"),
    tarballs.file(b"cache/.wh..wh..opq", b""),
    tarballs.file(b"cache/two", b"22", mode=0o4711, uid=7, gid=8),
    tarballs.file(b".wh.gone", b""),
    tarballs.file(b"lib/more", b"more"),
)
TOP = tarballs.archive(
    tarballs.directory(b"etc/"),
    tarballs.file(b"etc/os-release", b"NAME=second\n"),
    tarballs.hard_link(b"etc/link", b"usr/lib/big"),
    tarballs.file("etc/\x1b]0;x\x07\u202ename".encode(), b"hostile"),
)
TREE = [
    "/cache/", "/cache/two", "/etc/", "/etc/link", "/etc/os-release", "/etc/passwd",
    "/etc/\\x1b]0;x\\x07\\u202ename", "/lib", "/usr/", "/usr/lib/", "/usr/lib/big", "/usr/lib/more",
    "/usr/lib/same",
]  # fmt: skip


@pytest.fixture(scope="module")
def looked_at(hub: RunningServer) -> Image:
    made = image((BASE, MIDDLE, TOP))
    wire = Wire(hub.port)
    push_image(wire, "library/look", "1", made)
    wire.close()
    return made


@pytest.fixture
def places(tool: Tool, hub: RunningServer, looked_at: Image) -> list[str]:
    """One image in each kind of place."""
    tool.out("copy", "docker://look:1", "oci:layout:v")
    tool.out("copy", "docker://look:1", "oci-archive:archive.tar:v")
    tool.out("copy", "docker://look:1", "docker-archive:saved.tar:look:1")
    places = ["look:1", f"{hub.host}/library/look:1", "oci:layout:v", "oci-archive:archive.tar:v"]
    return [*places, "docker-archive:saved.tar:look:1"]


def test_every_place_gives_the_same_files(tool: Tool, places: list[str]) -> None:
    for place in places:
        assert tool.out("files", place, "--format", "{{.Path}}").splitlines() == sorted(TREE), place
        assert tool.out("cat", place, "/etc/os-release", "lib/../lib/more") == "NAME=second\nmore", place
    assert tool.out("images", "-q") == "", "nothing was pulled"


def test_the_tree_is_that_of_an_export(tool: Tool, looked_at: Image) -> None:
    tool.out("pull", "-q", "look:1")
    tool.out("create", "--name", "box", "look:1", "/x")
    made_by_the_container = ("etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", ".dockerenv")
    wanted = {
        name: attributes
        for name, attributes in _members(tool.run("export", "box").stdout).items()
        if name.split("/")[0] not in ("dev", "proc", "sys") and name not in made_by_the_container
    }
    assert _members(tool.run("cp", "look:1:/.", "-").stdout) == wanted
    listed = json.loads("[" + ",".join(tool.out("files", "look:1", "--format", "json").splitlines()) + "]")
    assert sorted(each["Path"].strip("/") for each in listed) == sorted(wanted)


def _members(data: bytes) -> dict[str, tuple[object, ...]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            member.name.removeprefix("./"): (member.mode, member.uid, member.gid, _content(archive, member))
            for member in archive.getmembers()
            if member.name != "."
        }


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    if member.issym():
        return f"-> {member.linkname}"
    if not (member.isfile() or member.islnk()):
        return None
    data = archive.extractfile(member)
    assert data is not None
    return hashlib.sha256(data.read()).hexdigest()


def test_rows_look_like_ls(tool: Tool, looked_at: Image) -> None:
    assert tool.out("files", "look:1", "/cache").splitlines() == [
        "-rws--x--x 7:8 2 2023-11-14 22:13 /cache/two"
    ]
    assert "lrwxrwxrwx 0:0 0 2023-11-14 22:13 /lib -> usr/lib" in tool.out("files", "look:1", "/lib")
    drawn = tool.out("files", "look:1", "usr", "--tree")
    assert drawn == "/usr/\n└── lib/\n    ├── big  100kB\n    ├── more  4B\n    └── same  100kB\n"


def test_one_layer_shows_what_it_removes(tool: Tool, looked_at: Image) -> None:
    rows = tool.out("files", "look:1", "--layer", "2", "--format", "{{.Mode}} {{.Path}}").splitlines()
    assert rows == [
        "drwxr-xr-x /cache/", "o--------- /cache/", "-rws--x--x /cache/two", "w--------- /gone",
        "-rw-r--r-- /lib/more",
    ]  # fmt: skip
    assert "has 3 layers; there is no layer 4" in tool.err("files", "look:1", "--layer", "4")


def test_size_tells_what_is_wasted(tool: Tool, looked_at: Image) -> None:
    found = json.loads(tool.out("size", "look:1", "--format", "json"))
    assert found["WastedBytes"] == 5000 + 700 + len("NAME=first\nNAME=second\n")
    assert [(each["Path"], each["Removed"]) for each in found["Wasted"]] == [
        ("/cache/one", True), ("/gone/below", True), ("/etc/os-release", False),
    ]  # fmt: skip
    text = tool.out("size", "look:1")
    assert "WASTED 5.72kB (5.4% of the layers)" in text
    assert "/usr/" not in text.split("WASTED")[1]
    tool.out("size", "look:1", "--max-wasted", "6%")
    assert "at most 5kB may be" in tool.err("size", "look:1", "--max-wasted", "5kB")


def test_a_file_comes_out_as_a_tar(tool: Tool, looked_at: Image) -> None:
    done = tool.run("cp", "docker://look:1:/etc/link", "-")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.size, member.isfile()) == ("link", 100_000, True)


def test_refusals_say_what_to_do(tool: Tool, looked_at: Image) -> None:
    assert "look:1 has no /etc/none" in tool.err("cat", "look:1", "/etc/none")
    assert "/etc is a directory" in tool.err("cat", "look:1", "/etc")
    assert "No such container: nobody" in tool.err("cp", "nobody:/etc", "-")


def test_a_file_of_an_upper_layer_needs_no_lower_layer(tool: Tool, hub: RunningServer) -> None:
    """The lowest layer of the layout is missing, and nobody asks for it."""
    made = image((BASE, TOP))
    wire = Wire(hub.port)
    push_image(wire, "library/partial", "1", made)
    wire.close()
    tool.out("copy", "docker://partial:1", "oci:partial:v")
    lowest = json.loads(made.manifest)["layers"][0]["digest"].partition(":")[2]
    (tool.home / "partial/blobs/sha256" / lowest).unlink()
    assert tool.out("cat", "oci:partial:v", "/etc/os-release") == "NAME=second\n"
    assert tool.run("cat", "oci:partial:v", "/etc/passwd", code=1).stderr


def test_images_of_a_registry_are_compared_without_a_pull(tool: Tool, hub: RunningServer) -> None:
    change = tarballs.archive(
        tarballs.file(b"etc/os-release", b"NAME=third\n", mode=0o600), tarballs.file(b"etc/.wh.passwd", b"")
    )
    wire = Wire(hub.port)
    push_image(wire, "library/diff", "1", image((BASE,)))
    push_image(wire, "library/diff", "2", image((BASE, change)))
    wire.close()
    out = tool.out("image", "diff", "diff:1", "diff:2", "--text")
    assert "C /etc/os-release -rw-r--r-- → -rw-------\n--- a/etc/os-release\n" in out
    assert "\n-NAME=first\n+NAME=third\nD /etc/passwd (-15B)\n" in out
    assert tool.out("images", "-q") == ""
