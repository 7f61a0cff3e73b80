"""Containers of a user who is not root, in a user namespace with a single id or with ranges of ids."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

import pytest

from tests.integration.containers.conftest import TIMEOUT_S, Box
from tests.support.plain_user import FIRST_SUBORDINATE
from tests.support.processes import wait_until
from tests.support.tarballs import archive, file, header

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def test_a_plain_user_runs_changes_and_commits(plain_box: Box) -> None:
    box = plain_box
    assert box.output("run", "--rm", "tiny:1", "id", "-u") == "0"
    assert box.run("run", "tiny:1", "sh", "-c", "exit 4", code=4)
    box.run(
        "run",
        "--name",
        "made",
        "tiny:1",
        "sh",
        "-c",
        "echo x > /new; rm /etc/issue; rm -r /usr/share/doc; mkdir /usr/share/doc",
    )
    changes = set(box.output("diff", "made").splitlines())
    assert {"A /new", "D /etc/issue", "C /usr/share/doc", "D /usr/share/doc/one"} <= changes
    box.run("commit", "made", "made:1")
    assert box.output("run", "--rm", "made:1", "cat", "/new") == "x"
    for path in (box.home / "store").rglob("*"):
        assert path.lstat().st_uid == os.stat(box.home).st_uid


def test_a_plain_user_looks_into_a_running_container(plain_box: Box) -> None:
    box = plain_box
    box.run("run", "-d", "--name", "live", "tiny:1", "sh", "-c", "echo up; while :; do sleep 0.1; done")
    wait_until(lambda: box.output("logs", "live") == "up", what="the container")
    assert box.output("exec", "live", "sh", "-c", "touch /made; id -u") == "0"
    box.run("cp", "/etc/hostname", "live:/copied")
    assert set(box.output("diff", "live").splitlines()) == {"A /made", "A /copied"}
    assert box.output("ps", "--format", "{{.Names}}") == "live"
    box.run("stop", "-t", "0", "live")
    assert box.output("wait", "live") == "137"
    assert "not mapped" in box.run("run", "-u", "alice", "tiny:1", "id", code=125).stderr


def test_owners_and_devices_survive_without_the_right_to_make_them(plain_box: Box) -> None:
    """Unpacked as nobody, exported again: every owner, mode and device is what the image says."""
    box = plain_box
    layer = archive(
        file(b"owned", b"x", uid=12, gid=34, mode=0o4750),
        header(b"node", kind=b"4", device=(7, 3), mode=0o640, gid=6),
    )
    box.run("append", "tiny:1", "-", "-t", "odd:1", stdin=layer)
    box.run("create", "--name", "odd", "odd:1")
    done = subprocess.run(
        box.argv("export", "odd"),
        stdout=subprocess.PIPE,
        env=box.env,
        cwd=box.home,
        check=True,
        timeout=TIMEOUT_S,
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        owned, node = tar.getmember("owned"), tar.getmember("node")
    assert (owned.uid, owned.gid, owned.mode) == (12, 34, 0o4750)
    assert (node.isblk(), node.devmajor, node.devminor, node.gid, node.mode) == (True, 7, 3, 6, 0o640)
    assert (box.store / "entrepot/snapshots/user").stat().st_mode & 0o077 == 0


def test_with_ranges_of_ids_files_have_real_owners(mapped_box: Box) -> None:
    """`newuidmap` and `newgidmap`: every user of the image exists, and no owner has to be written down."""
    box = mapped_box
    assert box.output("run", "--rm", "-u", "alice", "tiny:1", "id", "-u") == "1234"
    script = "echo x > /owned; chown 1234:50 /owned; chmod 4750 /owned; stat -c %u:%g:%a /owned"
    assert box.output("run", "--name", "made", "tiny:1", "sh", "-c", script) == "1234:50:4750"
    (owned,) = (box.home / "store/entrepot/containers").glob("*/upper/owned")
    status = owned.stat()
    assert (status.st_uid, status.st_gid) == (FIRST_SUBORDINATE + 1233, FIRST_SUBORDINATE + 49)
    box.run("commit", "made", "made:1")
    assert box.output("run", "--rm", "made:1", "stat", "-c", "%u:%g:%a", "/owned") == "1234:50:4750"
    box.run("run", "-d", "--name", "live", "-u", "alice", "made:1", "sh", "-c", "while :; do sleep 0.1; done")
    assert box.output("exec", "live", "id", "-u") == "1234"
    box.run("rm", "-f", "live", "made")
    assert not list((box.home / "store/entrepot/containers").glob("*/upper"))


def test_a_file_that_may_not_be_read_is_told_and_not_copied_empty(plain_box: Box) -> None:
    box = plain_box
    (box.home / "dir").mkdir()
    for name in ("secret", "dir/secret"):
        (box.home / name).write_text("of root\n")
        (box.home / name).chmod(0o600)
    box.run("create", "--name", "made", "tiny:1")
    told = box.run("cp", "secret", "made:/copied", code=1).stderr
    assert told == f"Error: open {box.home}/secret: permission denied\n"
    assert box.output("diff", "made") == ""
    told = box.run("append", "tiny:1", "dir", "-t", "made:1", code=1).stderr
    assert told == f"Error: open {box.home}/dir/secret: permission denied\n"
    assert box.output("images", "-q", "made") == ""


def test_files_that_their_owner_closed_are_in_commits_and_exports(plain_box: Box) -> None:
    """Root in the container can read them, so can whoever is root of its user namespace."""
    box = plain_box
    box.run("run", "--name", "made", "tiny:1", "sh", "-c", "echo x > /closed; chmod 0 /closed")
    box.run("commit", "made", "made:1")
    assert box.output("run", "--rm", "made:1", "cat", "/closed") == "x"
    box.run("export", "-o", "out.tar", "made")
    with tarfile.open(box.home / "out.tar") as tar:
        assert (tar.getmember("closed").size, tar.getmember("closed").mode) == (2, 0)
    box.run("cp", "made:/closed", "copied")
    assert (box.home / "copied").stat().st_size == 2
