"""Files that are whole or not there, and locks between processes."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_MAX_LINKS = 40
"""Symlinks followed for one path, as in the kernel."""


def replace_file(path: Path, data: bytes, *, tmp: Path, durable: bool, mode: int = 0o644) -> None:
    """Write `data` to a new file in `tmp` and rename it over `path`: readers see the old or the new file.

    With `durable` it survives a power cut. `tmp` is on the same file system as `path`.
    """
    temporary = tmp / secrets.token_hex(8)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        fsync_directory(path.parent)


_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
"""What a file system, or an old kernel, answers that cannot make a file without a name."""


def open_new(path: Path, mode: int) -> tuple[int, bool]:
    """A new file, open for reading and writing, and whether it has the name `path` already.

    Where files can be without a name it has none until `give_name`, and vanishes with the process.
    """
    try:
        return os.open(path.parent, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, mode), False
    except OSError as error:
        if error.errno not in _NO_UNNAMED_FILES:
            raise
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), True


def give_name(fd: int, path: Path) -> None:
    """Name a file that `open_new` made without. Raises FileExistsError."""
    # Python follows the link only when a directory is given, though nothing is looked up in it.
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)


@contextmanager
def replaced_file(path: Path, *, mode: int) -> Iterator[BinaryIO]:
    """A file that takes the name `path` when the block ends well, and is gone when it doesn't, also when the
    process is killed. Raises OSError.

    A link stays one: what it leads to is replaced. What is open already (/dev/stdout), a pipe or a device is
    written to as it is.
    """
    there = _open_in_place(path)
    if there is not None:
        with there:
            yield there
        return
    path = real_path(path)
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    temporary = path.parent / f".entrepot-{secrets.token_hex(8)}"  # a long name leaves no room for more
    fd, has_name = open_new(temporary, mode)
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


def real_path(path: Path) -> Path:
    """The path with links followed, also one to nothing yet; a circle of links ends at one of them."""
    return Path(os.path.realpath(path))


def _open_in_place(path: Path) -> BinaryIO | None:
    """What can't be replaced by a file, open for writing."""
    number = _descriptor(path)
    if number is not None:
        return os.fdopen(os.dup(number), "wb")
    return path.open("wb") if path.exists() and not path.is_file() else None


def _descriptor(path: Path) -> int | None:
    """The number of the open file of this process that the path stands for, as /dev/stdout stands for 1.

    Opening it by the path would begin anew at its first byte, and fails for a socket.
    """
    mine = real_path(Path("/proc/self/fd"))
    for _ in range(_MAX_LINKS):
        parent = real_path(path.parent)
        if parent == mine and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = parent / path.readlink()
    return None


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; `os.write` alone may stop half way."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def fsync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold a lock among processes, and among threads: each call opens the file anew."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)  # closing gives the lock back


def try_lock(fd: int) -> bool:
    """Take an exclusive lock if nobody has one."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
