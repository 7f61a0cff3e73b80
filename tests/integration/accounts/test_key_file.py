"""The key file is for the account that runs the server, whoever types the command that makes it."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.server.compose import prepare_now
from entrepot.server.config.model import AccessSection, Config, ServerSection
from tests.support.plain_user import argv_as
from tests.support.programs import require_root
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.timeout(120)

SERVES = "nobody"


@pytest.fixture
def of_nobody() -> Iterator[RunningServer]:
    """A server with accounts that is not root's, prepared and not started."""
    require_root()
    folder = Path(tempfile.mkdtemp(prefix="ep-"))
    env = {"ENTREPOT_ACCESS_MODE": "accounts", "HOME": str(folder)}
    try:
        with running_server(folder, env=env, workers=1, start=False) as server:
            server.data.mkdir(mode=0o700)
            prepare_now(Config(server=ServerSection(data=server.data), access=AccessSection(mode="accounts")))
            subprocess.run(["chown", "-R", f"{SERVES}:", folder], check=True)
            server.argv = argv_as(SERVES, [sys.executable, *server.argv])
            yield server
    finally:
        shutil.rmtree(folder)


def test_a_key_file_that_root_makes_belongs_to_whom_the_data_belongs(of_nobody: RunningServer) -> None:
    key = of_nobody.data / "access.key"
    key.unlink()
    of_nobody.admin("token", "rotate-key", "--key-file-lost")
    assert (key.owner(), stat.S_IMODE(key.stat().st_mode)) == (SERVES, 0o600)
    of_nobody.start()


@pytest.mark.parametrize("closed", ["the file", "its folder"])
def test_a_key_file_of_somebody_else_is_told_in_words(of_nobody: RunningServer, closed: str) -> None:
    key = of_nobody.data / "access.key"
    if closed == "its folder":
        folder = of_nobody.data.parent / "etc"
        folder.mkdir(mode=0o700)
        key = key.rename(folder / key.name)
        of_nobody.env["ENTREPOT_ACCESS_SECRET_FILE"] = str(key)
    else:
        os.chown(key, 0, 0)
    done = subprocess.run(of_nobody.argv, env=of_nobody.env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = done.stderr.splitlines()
    assert told[:2] == [
        f"Error: the key file {key} can't be used: permission denied",
        f"give it, and its folder, to the account that runs the server: chown USER {key}",
    ]
    assert "Traceback" not in done.stderr
