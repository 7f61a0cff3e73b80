"""Where commands that write to the host write to: links stay links, open files are written to."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.integration.containers.conftest import TIMEOUT_S, Box

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture
def made(box: Box) -> Box:
    """A container `made`."""
    box.run("create", "--name", "made", "tiny:1")
    return box


def test_a_copy_writes_what_a_link_leads_to(made: Box) -> None:
    here = made.home
    (here / "there").write_text("old\n")
    for name, target in {"full": "there", "dangling": "dir/new", "circle": "circle"}.items():
        (here / name).symlink_to(target)
    (here / "dir").mkdir()
    made.run("cp", "made:/etc/issue", "full")
    made.run("cp", "made:/etc/issue", "dangling")
    assert (here / "there").read_text() == (here / "dir/new").read_text() == "tiny\n"
    assert "leads to itself" in made.run("cp", "made:/etc/issue", "circle", code=1).stderr
    assert [(here / name).is_symlink() for name in ("full", "dangling", "circle")] == [True] * 3


def test_a_copy_never_replaces_a_pipe_or_device(made: Box) -> None:
    os.mkfifo(made.home / "pipe")
    (made.home / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        told = made.run("cp", "made:/etc/issue", name, code=1).stderr
        assert told == f'invalid output path: "{name}" must be a directory or a regular file\n'
    assert (made.home / "pipe").is_fifo()


@pytest.mark.parametrize("command", [("save", "tiny:1"), ("export", "made")], ids=["save", "export"])
def test_o_writes_what_a_link_leads_to(made: Box, command: tuple[str, str]) -> None:
    here = made.home
    (here / "link.tar").symlink_to("real.tar")
    for _ in range(2):  # first a link to nothing yet
        made.run(*command, "-o", "link.tar")
        assert (here / "link.tar").is_symlink()
        assert tarfile.is_tarfile(here / "real.tar")
    (here / "circle").symlink_to("circle")
    assert "open circle: " in made.run(*command, "-o", "circle", code=1).stderr
    made.run(*command, "-o", "a" * 255)
    assert tarfile.is_tarfile(here / ("a" * 255))


@pytest.mark.parametrize("command", [("save", "tiny:1"), ("export", "made")], ids=["save", "export"])
def test_o_dev_stdout_writes_to_the_open_file(made: Box, command: tuple[str, str]) -> None:
    """As root, too, /dev/stdout stays the link it is, and what the file holds already stays in front."""
    link = made.home / "stdout"  # root could replace the real one
    link.symlink_to("/proc/self/fd/1")
    path = made.home / "out.tar"
    with path.open("wb") as out:
        out.write(b"before")
        out.flush()
        _run(made, command, link, out.fileno())
        out.seek(0, os.SEEK_END)
        out.write(b"after")
    data = path.read_bytes()
    assert (data[:6], data[-5:]) == (b"before", b"after")
    assert tarfile.is_tarfile(io.BytesIO(data[6:-5]))
    piped = subprocess.run(
        made.argv(*command, "-o", link), stdout=subprocess.PIPE, env=made.env, cwd=made.home, check=True,
        timeout=TIMEOUT_S,
    ).stdout  # fmt: skip
    assert tarfile.is_tarfile(io.BytesIO(piped))
    assert link.is_symlink()


def _run(box: Box, command: tuple[str, str], target: Path, stdout: int) -> None:
    subprocess.run(
        box.argv(*command, "-o", target),
        stdout=stdout,
        env=box.env,
        cwd=box.home,
        check=True,
        timeout=TIMEOUT_S,
    )
