"""Files that are whole or not there, or closed to others, folders that are synced, locks between processes.

Imports nothing of the program: everything that keeps something on a disk may use it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_MAX_LINKS = 40
"""Symlinks followed for one path, as in the kernel."""


def new_name() -> str:
    """Sixteen hex digits nobody has used or can guess.

    `secrets` would say the same, and load hmac, random and OpenSSL first: 7 ms of a command that only looks.
    """
    return os.urandom(8).hex()


def replace_file(path: Path, data: bytes, *, tmp: Path, durable: bool, mode: int = 0o644) -> None:
    """Write `data` to a new file in `tmp` and rename it over `path`: readers see the old or the new file.

    With `durable` it survives a power cut. `tmp` is a folder on the same file system as `path`: what a killed
    process leaves is found there, and not among files that are read by name.
    """
    temporary = tmp / new_name()
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
    temporary = path.parent / f".entrepot-{new_name()}"  # a long name leaves no room for more
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
    """Names made, changed or removed in the folder survive a power cut."""
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


def try_lock(fd: int, *, exclusive: bool = True) -> bool:
    """Take a lock if nobody has one in the way. NFS gives an exclusive one to writers only."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_same_file(fd: int, path: Path) -> bool:
    """Whether `path` still is the open file: it may have been renamed between open and lock."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


_OTHERS = 0o077
"""The rights of everybody but the owner."""


def make_folder(path: Path) -> None:
    """A directory with what is above it, as the umask has it; one that is there stays as it is."""
    path.mkdir(parents=True, exist_ok=True)


def make_private(path: Path) -> None:
    """A directory that only its owner may enter; one of ours that is there and open is closed."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        close_to_others(path)


def close_to_others(path: Path) -> bool:
    """Take others' rights to a file or directory of ours; whether they had any.

    Links are left alone, and so is what cannot be changed: on a read-only file system, or not there.
    """
    try:
        if not _is_open(path.lstat()):
            return False
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(fd)  # of what was opened: a name may have become another's in between
        if not _is_open(status):
            return False
        with suppress(OSError):
            os.fchmod(fd, stat.S_IMODE(status.st_mode) & ~_OTHERS)
        return True
    finally:
        os.close(fd)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, over what is there."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, 0o600)  # it may have been there with another mode
        file.write(data)


def _is_open(status: os.stat_result) -> bool:
    return (
        status.st_uid == os.geteuid()
        and bool(status.st_mode & _OTHERS)
        and (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode))
    )
