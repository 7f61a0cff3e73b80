"""Files that are whole or not there, and locks between processes."""

import os
import stat
import threading
from pathlib import Path

import pytest

from entrepot.files import is_same_file, locked, replace_file, replaced_file, try_lock


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.tar"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replaced_file(path, mode=0o600) as file:
        file.write("no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    with replaced_file(path, mode=0o600) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_file_stays_one_and_names_may_be_as_long_as_they_can(tmp_path: Path) -> None:
    real, link = tmp_path / ("a" * 255), tmp_path / "link"
    link.symlink_to(real.name)
    for data in (b"first", b"second"):
        with replaced_file(link, mode=0o600) as file:
            file.write(data)
        assert (link.is_symlink(), real.read_bytes()) == (True, data)
    assert sorted(tmp_path.iterdir()) == [real, link]


def test_a_file_has_no_name_until_it_is_whole(tmp_path: Path) -> None:
    """So a process that is killed leaves nothing."""
    with replaced_file(tmp_path / "out.tar", mode=0o600) as file:
        file.write(b"new")
        assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    tmp, path = tmp_path / "tmp", tmp_path / "taken"
    tmp.mkdir()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(path, b"new", tmp=tmp, durable=False)
    assert path.is_dir()
    assert list(tmp.iterdir()) == []


@pytest.mark.parametrize("durable", [False, True])
def test_only_a_durable_file_waits_for_the_disk_and_then_for_its_folder(
    durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(fd: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", fsync)
    replace_file(tmp_path / "index.json", b"{}", tmp=tmp_path, durable=durable)
    assert (tmp_path / "index.json").read_bytes() == b"{}"
    assert synced == (["file", "folder"] if durable else [])


def test_a_lock_holds_among_threads_and_readers_share_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    inside, leave = threading.Event(), threading.Event()

    def read() -> None:
        with locked(lock, exclusive=False):
            inside.set()
            leave.wait(30)

    reader = threading.Thread(target=read)
    reader.start()
    assert inside.wait(30)
    with lock.open("rb+") as file:
        assert not try_lock(file.fileno())
        assert try_lock(file.fileno(), exclusive=False)
    leave.set()
    with locked(lock, exclusive=True):
        reader.join(30)
    assert not reader.is_alive()


def test_a_file_that_was_renamed_since_it_was_opened_is_told(tmp_path: Path) -> None:
    path = tmp_path / "partial"
    with path.open("wb") as file:
        assert is_same_file(file.fileno(), path)
        path.rename(tmp_path / "blob")
        assert not is_same_file(file.fileno(), path)
        path.write_bytes(b"another")
        assert not is_same_file(file.fileno(), path)
