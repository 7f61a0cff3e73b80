"""The file behind `-o`: it has its name once it is whole, and leaves nothing when the process is killed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from entrepot.actions.errors import FileUnusable
from entrepot.images.files import give_name, open_new


def require_writable(path: Path, doing: str) -> None:
    """Tell at once what is wrong with the place for a file. `doing` begins the error: `save image`. Raises
    FileUnusable."""
    if path.is_dir():
        raise FileUnusable(f"failed to {doing}: invalid output path: {path} is a directory")
    if not path.parent.is_dir():
        raise FileUnusable(
            f"failed to {doing}: invalid output path: stat {path.parent}: no such file or directory"
        )


@contextmanager
def new_file(path: Path, doing: str) -> Iterator[BinaryIO]:
    """A file, mode 0600, that gets its name when the block has ended well. Raises FileUnusable."""
    require_writable(path, doing)
    if path.exists() and not path.is_file():
        with path.open("wb") as device:  # a pipe, a terminal, /dev/null: nothing to rename over
            yield device
        return
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        fd, has_name = open_new(temporary, 0o600)
    except OSError as error:
        reason = (error.strerror or "cannot be written").lower()
        raise FileUnusable(f"failed to {doing}: open {path}: {reason}") from error
    try:
        with os.fdopen(fd, "wb", buffering=1 << 20) as file:
            yield file
            if not has_name:
                file.flush()
                give_name(fd, temporary)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
