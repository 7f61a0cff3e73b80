"""What another user of the machine reaches of a registry's files: nothing, whatever the umask."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.images import image, push_image
from tests.support.programs import require_root
from tests.support.server import ENTREPOT, RunningServer, clean_env, running_server
from tests.support.wire import Wire

pytestmark = [pytest.mark.timeout(300)]

OTHERS = 0o077


def open_to_others(folder: Path) -> list[str]:
    """Files and folders that others could read, list or enter if they got that far."""
    paths = [folder, *folder.rglob("*")]
    found = ((path, path.lstat()) for path in paths)
    return sorted(
        f"{stat.S_IMODE(status.st_mode):04o} {path.relative_to(folder.parent)}"
        for path, status in found
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & OTHERS
    )


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    """A registry with accounts, an image, a backup and an export, all made with the laxest umask."""
    folder = tmp_path_factory.mktemp("used")
    before = os.umask(0)
    try:
        log = folder / "access.log"
        with running_server(folder, workers=1, env={"ENTREPOT_LOG_ACCESS": str(log)}) as server:
            push_image(Wire(server.port), "team/app", "v1", image([{"a": b"x" * 10_000}]))
            server.restart()
            for argv in (
                ["user", "create", "ann", "--admin", "--invite"],
                ["gc"],
                ["scrub"],
                ["backup", str(folder / "backup")],
                ["backup", "--new-key", str(folder / "backup.key"), str(folder / "backup.tar")],
                ["export", str(folder / "export")],
            ):
                server.admin(*argv)
            server.stop()
            return server
    finally:
        os.umask(before)


def test_the_data_directory_is_closed_file_by_file(used: RunningServer) -> None:
    assert open_to_others(used.data) == []
    assert {path.name for path in used.data.iterdir()} >= {"catalog.db", "access.key"}


def test_backups_and_exports_are_closed(used: RunningServer) -> None:
    folder = used.data.parent
    for name in ("backup", "backup.tar", "backup.key"):
        assert open_to_others(folder / name) == [], name
    assert not (folder / "access.log").stat().st_mode & 0o007
    assert stat.S_IMODE((folder / "export").stat().st_mode) == 0o700


def test_a_data_directory_that_was_opened_is_closed_at_the_next_start(used: RunningServer) -> None:
    for path in used.data.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    used.data.chmod(0o755)
    used.start()
    used.stop()
    assert stat.S_IMODE(used.data.stat().st_mode) == 0o700


@pytest.mark.parametrize("how", ["restore", "migrate", "migrate --to", "rebuild"])
def test_what_root_brings_back_is_the_servers(how: str, used: RunningServer, tmp_path: Path) -> None:
    """The folder belongs to the account that the server runs as; root types the command."""
    require_root()
    nobody = pwd.getpwnam("nobody")
    target = tmp_path / "target"
    if how in ("migrate", "rebuild"):
        shutil.copytree(used.data, target)
    target.mkdir(exist_ok=True)
    if how == "rebuild":
        for path in target.glob("catalog.db*"):
            path.unlink()
    for path in [target, *target.rglob("*")]:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    settings = tmp_path / "new.toml"
    settings.write_text(f'[server]\ndata = "{target}"\n')
    backup = str(used.data.parent / "backup")
    argv = {
        "restore": ["--data", str(target), "restore", backup],
        "migrate": ["--data", str(target), "migrate"],
        "migrate --to": ["--data", str(used.data), "migrate", "--no-wait", "--to", str(settings)],
        "rebuild": ["--data", str(target), "rebuild"],
    }[how]
    if how == "migrate --to":  # from a copy: who has moved away takes nothing any more
        shutil.copytree(used.data, tmp_path / "old")
        argv[1] = str(tmp_path / "old")
    done = subprocess.run(
        [ENTREPOT, "admin", *argv], env=clean_env(), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (target / "catalog.db").exists()
    assert {path.lstat().st_uid for path in [target, *target.rglob("*")]} == {nobody.pw_uid}
