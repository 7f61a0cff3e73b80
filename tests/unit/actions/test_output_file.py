"""The file behind `-o`."""

from pathlib import Path

import pytest

from entrepot.actions.errors import FileUnusable
from entrepot.actions.output_file import new_file


def write_half(path: Path) -> None:
    with new_file(path, "save image") as file:
        file.write(b"half")
        raise ZeroDivisionError


def test_it_is_whole_or_not_there_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.tar"
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert list(tmp_path.iterdir()) == []
    with new_file(path, "save image") as file:
        file.write(b"whole")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"whole", 0o600)


def test_places_where_no_file_can_be_are_said_in_the_words_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match=r"^failed to save image: .* is a directory"):
        write_half(tmp_path)
    with pytest.raises(FileUnusable, match="no such file or directory"):
        write_half(tmp_path / "none" / "x")
