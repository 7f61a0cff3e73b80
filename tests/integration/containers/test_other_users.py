"""What another user of the machine reaches of the store that root has in a folder open to all: nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.containers.conftest import TIMEOUT_S, Box
from tests.support.processes import wait_until
from tests.support.programs import require_program, require_root

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

OTHER = 65534
SECRET = "hunter2-of-the-database"
ESCALATE = "cp /bin/id /suid; chmod 6755 /suid; cp /bin/id /data/suid; chmod 4755 /data/suid"


@pytest.fixture
def open_box(base_store: Path, tiny_tar: Path) -> Iterator[Box]:
    """A store of root's whose folder, and all above it, anybody may enter."""
    require_root()
    require_program("runc")
    home = Path(tempfile.mkdtemp(prefix="entrepot-open-", dir="/var/tmp"))
    home.chmod(0o755)
    found = Box(home / "store", home, tiny_tar)
    try:
        found.run("import", "-c", 'CMD ["sh"]', tiny_tar, "tiny:1")
        yield found
    finally:
        found.clean()
        shutil.rmtree(home, ignore_errors=True)


def as_other(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, user=OTHER, group=OTHER, extra_groups=[], capture_output=True, text=True, check=False,
        timeout=TIMEOUT_S, cwd="/",
    )  # fmt: skip


def seen_by_other(folder: Path) -> list[str]:
    """Everything below a folder whose name another user can find out."""
    return as_other(require_program("find"), folder, "-mindepth", "1").stdout.splitlines()


def readable_by_other(folder: Path) -> list[Path]:
    """Files that another user can read who knows their names."""
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    tried = as_other("/bin/sh", "-c", 'for path; do [ -r "$path" ] && echo "$path"; done; :', "sh", *paths)
    return [Path(line) for line in tried.stdout.splitlines()]


def opened_up(folder: Path) -> None:
    """As it was left by a program that closed nothing."""
    for path in (folder, *folder.rglob("*")):
        parts = path.relative_to(folder).parts
        is_content = {"upper", "init", "_data"} & set(parts) or ("snapshots" in parts and len(parts) > 3)
        if path.is_symlink() or is_content:
            continue
        path.chmod(0o755 if path.is_dir() else 0o644)


def made(box: Box) -> Path:
    """A container with a secret, a volume and setuid programs, that has run; its folder."""
    container_id = box.output("create", "-e", f"PASSWORD={SECRET}", "-v", "data:/data", "tiny:1", "sh", "-c",
                              ESCALATE)  # fmt: skip
    assert box.output("start", "-a", container_id) == ""
    assert stat.S_IMODE((box.store / "entrepot/volumes/data/_data/suid").stat().st_mode) == 0o4755
    return box.store / "entrepot/containers" / container_id


def test_another_user_reaches_nothing_in_a_store_of_root(open_box: Box) -> None:
    folder = made(open_box)
    assert stat.S_IMODE(open_box.store.stat().st_mode) == 0o700
    assert seen_by_other(open_box.store) == []
    assert readable_by_other(open_box.store) == []
    for program in (folder / "upper/suid", open_box.store / "entrepot/volumes/data/_data/suid"):
        with pytest.raises(PermissionError):
            as_other(program, "-u")
    for name in ("record.json", "state.json", "log", "bundle/config.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name


def test_each_folder_keeps_others_out_by_itself(open_box: Box) -> None:
    """Also where the store lies in a folder with other things, which stays as its owner has it."""
    (open_box.home / "store").mkdir(mode=0o755, exist_ok=True)
    (open_box.store / "of-somebody-else").write_text("x")
    open_box.store.chmod(0o755)
    folder = made(open_box)
    assert stat.S_IMODE(open_box.store.stat().st_mode) == 0o755
    assert {Path(path).name for path in seen_by_other(open_box.store)} == {
        "of-somebody-else", "oci-layout", "index.json", "blobs", "entrepot",
    }  # fmt: skip
    own = open_box.store / "entrepot"
    for path in (own, own / "containers", folder, own / "volumes", own / "volumes/data", own / "snapshots",
                 own / "snapshots/root", own / "partial", own / "tmp", own / "leases",
                 open_box.store / "blobs"):  # fmt: skip
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


@pytest.mark.parametrize("command", [("ps", "-a"), ("images",), ("create", "tiny:1"), ("tag", "tiny:1", "b")],
                         ids=lambda words: words[0])  # fmt: skip
def test_the_next_command_closes_a_store_that_is_open(open_box: Box, command: tuple[str, ...]) -> None:
    made(open_box)
    opened_up(open_box.store)
    assert readable_by_other(open_box.store)
    open_box.run(*command, code=0)
    assert seen_by_other(open_box.store) == []
    assert readable_by_other(open_box.store) == []


def test_records_and_logs_of_an_open_store_are_closed_too(open_box: Box) -> None:
    folder = made(open_box)
    opened_up(open_box.store)
    open_box.run("ps", "-a")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("record.json", "state.json", "log", "bundle/config.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    assert open_box.output("start", "-a", folder.name) == ""


def test_a_folder_somewhere_else_is_not_closed_through_a_link(open_box: Box) -> None:
    elsewhere = open_box.home / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (open_box.store / "entrepot/linked").symlink_to(elsewhere)
    open_box.run("images")
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


def test_users_in_a_closed_store_work(open_box: Box) -> None:
    """The folders are closed to others, but not to a container's own users."""
    box = open_box
    script = "id -u; echo up; cat /etc/hosts >/dev/null && cat /data/x; while :; do sleep 0.1; done"
    box.run("run", "--rm", "-v", "data:/data", "tiny:1", "sh", "-c", "echo in > /data/x")
    box.run("run", "-d", "--name", "live", "-u", "alice", "-v", "data:/data", "tiny:1", "sh", "-c", script)
    wait_until(lambda: box.output("logs", "live") == "1234\nup\nin", what="a user's output")
    assert box.output("exec", "-u", "alice", "live", "id", "-u") == "1234"


def test_another_user_is_told_whose_store_it_is(open_box: Box) -> None:
    store = Box(open_box.store, Path("/"), open_box.tiny_tar, "nobody")
    done = store.run("images", code=1)
    assert f"{open_box.store} belongs to root" in done.stderr
    assert "Traceback" not in done.stderr


# Copies out of a container.


@pytest.mark.parametrize("running", [False, True])
def test_copies_of_root_keep_no_rights_that_the_container_gave(open_box: Box, running: bool) -> None:
    """A setuid bit, a capability or a device with open doors would be root's own gift to every user."""
    box = open_box
    script = ("mkdir /d; cp /bin/id /d/root; cp /bin/id /d/alice; chown 1234:5678 /d/alice; "
              "chmod 6755 /d/root /d/alice /d; mknod -m 666 /d/node c 1 3; echo up")  # fmt: skip
    script += "; while :; do sleep 0.1; done" if running else ""
    box.run("run", "-d", "--name", "made", "tiny:1", "sh", "-c", script)
    wait_until(lambda: box.output("logs", "made") == "up", what="the container's files")
    if not running:
        box.run("wait", "made")
    box.run("cp", "made:/d", box.home / "copied")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (box.home / "copied").iterdir()}
    assert modes == {"root": 0o755, "alice": 0o755, "node": 0o600}
    assert stat.S_IMODE((box.home / "copied").stat().st_mode) == 0o755
    box.run("cp", "made:/d/alice", box.home / "single")
    assert stat.S_IMODE((box.home / "single").stat().st_mode) == 0o755
    assert {path.stat().st_uid for path in (box.home / "copied").iterdir()} == {0}


def test_a_capability_of_a_file_is_not_copied_out(open_box: Box) -> None:
    box = open_box
    box.run("run", "--name", "made", "tiny:1", "sh", "-c", "cp /bin/id /capable")
    (upper,) = (box.store / "entrepot/containers").glob("*/upper/capable")
    value = bytes.fromhex("0100000200000000000000000000000000000000")[:20]
    os.setxattr(upper, "security.capability", b"\x01\x00\x00\x02\x80" + value[5:])
    box.run("cp", "made:/capable", box.home / "copied")
    assert "security.capability" not in os.listxattr(box.home / "copied")
    box.run("cp", "-a", "made:/capable", box.home / "archived")
    assert "security.capability" in os.listxattr(box.home / "archived")


def test_an_archive_copy_and_a_tar_are_exact(open_box: Box) -> None:
    box = open_box
    script = "cp /bin/id /alice; chown 1234:5678 /alice; chmod 6755 /alice"
    box.run("run", "--name", "made", "tiny:1", "sh", "-c", script)
    box.run("cp", "-a", "made:/alice", box.home / "archived")
    status = (box.home / "archived").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 5678, 0o6755)
    listing = subprocess.run(box.argv("cp", "made:/alice", "-"), env=box.env, cwd=box.home, check=True,
                             capture_output=True, timeout=TIMEOUT_S).stdout  # fmt: skip
    shown = subprocess.run(["tar", "tv"], input=listing, capture_output=True, check=True).stdout.decode()
    assert shown.startswith("-rwsr-sr-x 1234/5678")
