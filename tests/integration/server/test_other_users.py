"""What another user of the machine reaches of a registry's files: nothing, whatever the umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.images import image, push_image
from tests.support.server import RunningServer, running_server
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
