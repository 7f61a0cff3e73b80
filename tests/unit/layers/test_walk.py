"""The bytes of files that change, vanish or can't be read while a tree is walked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.layers.errors import FileUnreadable
from entrepot.layers.walk import file_data


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_as_many_bytes_as_asked_for(folder: int) -> None:
    assert b"".join(file_data(folder, b"file", 9)) == b"bytes"
    assert b"".join(file_data(folder, b"file", 3)) == b"byt"


@pytest.mark.parametrize("name", [b"missing", b"file/below", b"directory", b"link", b"pipe"])
def test_what_is_no_file_any_more_has_no_bytes(folder: int, name: bytes) -> None:
    assert list(file_data(folder, name, 5)) == []


def test_a_file_that_cannot_be_read_is_told_by_its_path() -> None:
    """A disk's error; the memory of a process has no byte at 0."""
    own = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(FileUnreadable, match=rf"^read /proc/{os.getpid()}/mem: input/output error$"):
            list(file_data(own, b"mem", 5))
    finally:
        os.close(own)
