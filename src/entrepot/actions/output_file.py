"""The file behind `-o`: it has its name once it is whole, and leaves nothing when the process is killed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from entrepot.actions.errors import FileUnusable

_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
"""What a file system, or an old kernel, answers that cannot make a file without a name."""


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
        fd, has_name = _open_new(temporary)
    except OSError as error:
        reason = (error.strerror or "cannot be written").lower()
        raise FileUnusable(f"failed to {doing}: open {path}: {reason}") from error
    try:
        with os.fdopen(fd, "wb", buffering=1 << 20) as file:
            yield file
            if not has_name:
                file.flush()
                # Python follows the link only when a directory is given, though nothing is looked up in it.
                os.link(f"/proc/self/fd/{fd}", temporary, src_dir_fd=fd, follow_symlinks=True)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _open_new(temporary: Path) -> tuple[int, bool]:
    """A new file, and whether it has the name `temporary`: where it can go without, it vanishes with the
    process."""
    try:
        return os.open(temporary.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600), False
    except OSError as error:
        if error.errno not in _NO_UNNAMED_FILES:
            raise
    return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), True
