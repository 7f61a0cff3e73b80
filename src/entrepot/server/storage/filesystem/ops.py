"""Every system call the filesystem store makes, and nothing else.

One narrow waist, so that a test can stand in for the disk: record each call and build the directory trees
that a power cut may leave behind, or fail the n-th call. No retries, no policy: an OSError goes up as it
came.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

_MAX_BUFFERS = 1024
"""What one `pwritev` takes on Linux (IOV_MAX)."""
_SYNC_FILE_RANGE_WRITE = 2
_FICLONE = 0x40049409
_CANT_SHARE = {
    errno.EXDEV,
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EPERM,
    errno.EMLINK,
}
"""What Linux says where two files can't be made of the same bytes."""


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A name in a directory."""

    name: str
    is_directory: bool
    """False for anything that is not a directory itself, links included."""
    size: int
    mtime: float


class FileOps:
    """The real disk."""

    def __init__(self) -> None:
        self._directories: dict[Path, _OpenDirectory] = {}

    def open_append(self, path: Path) -> int:
        """A descriptor for writing; the file is made when it is missing, and never truncated."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)

    def open_write(self, path: Path) -> int:
        """A descriptor for writing an existing file."""
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def open_read(self, path: Path) -> int:
        """A descriptor for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def close(self, fd: int) -> None:
        """Give the descriptor back."""
        os.close(fd)

    def write(self, fd: int, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        """Write all of `buffers` at `offset`, or raise."""
        pending = list(buffers)
        while pending:
            part = pending[:_MAX_BUFFERS]
            written = os.pwritev(fd, part, offset)
            if written == 0 and any(part):
                raise OSError(errno.EIO, "the disk took no bytes")
            offset += written
            pending = _rest(pending, written)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; empty at the end of the file."""
        return os.pread(fd, size, offset)

    def is_cached(self, fd: int, offset: int, size: int) -> bool:
        """Whether a part of a file can be read without waiting for a disk: its two ends are in memory.

        Files are read in order, so what lies between them has been read with them. Asking for all of it
        would need a second copy of the bytes.
        """
        probe = bytearray(1)
        try:
            for at in (offset, offset + size - 1):
                if os.preadv(fd, [probe], at, os.RWF_NOWAIT) != 1:
                    return False
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
                return False
            raise
        return True

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(fd, size)

    def start_writeback(self, fd: int, offset: int, size: int) -> None:
        """Let the disk begin on this part, so that the fsync at the end has less to wait for. A hint."""
        if _sync_file_range is not None:
            _sync_file_range(fd, offset, size, _SYNC_FILE_RANGE_WRITE)

    def fsync(self, fd: int) -> None:
        """Wait until the file is on the disk. After an error its bytes may be lost: never call it again."""
        os.fsync(fd)

    def fsync_directory(self, path: Path) -> None:
        """Wait until the names in a directory are on the disk.

        It stays open: there are some hundreds at most, and each call less is a turn less at Python's lock.
        """
        directory = self._directories.get(path)
        if directory is None:
            directory = self._directories.setdefault(path, _OpenDirectory(path))
        os.fsync(directory.fd)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its final name."""
        os.rename(source, target)  # noqa: PTH104 - twice as quick as making the path it returns

    def clone(self, source: int, fd: int) -> bool:
        """Give `fd` the bytes of `source` without moving them (reflink); False where the disk can't."""
        try:
            fcntl.ioctl(fd, _FICLONE, source)
        except OSError as error:
            if error.errno in _CANT_SHARE:
                return False
            raise
        return True

    def link(self, source: Path, target: Path) -> bool:
        """A second name for a file, as young as a new one; False where the disk can't."""
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno in _CANT_SHARE:
                return False
            raise
        os.utime(target)
        return True

    def is_own(self, fd: int) -> bool:
        """Whether a file belongs to who asks, and to no directory entry that leads elsewhere."""
        found = os.fstat(fd)
        return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def make_directory(self, path: Path) -> bool:
        """Make one directory, private to its owner; False when it was there."""
        try:
            path.mkdir(DIRECTORY_MODE)
        except FileExistsError:
            return False
        return True

    def make_private(self, path: Path) -> None:
        """Take a directory away from everyone but its owner."""
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(DIRECTORY_MODE)

    def size(self, path: Path) -> int | None:
        """Bytes in a file, None when it is missing."""
        try:
            return path.stat(follow_symlinks=False).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open_size(self, fd: int) -> int:
        """Bytes in an open file."""
        return os.fstat(fd).st_size

    def free_bytes(self, path: Path) -> int:
        """Room left for an ordinary user on the disk that holds `path`."""
        figures = os.statvfs(path)
        return figures.f_bavail * figures.f_frsize

    def allocate(self, path: Path, size: int) -> None:
        """Make a file that takes `size` bytes of the disk."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        try:
            os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)

    def entries(self, path: Path) -> Iterator[FolderEntry]:
        """What is in a directory, in no order; a name that goes away meanwhile is left out."""
        try:
            found = os.scandir(path)
        except FileNotFoundError:
            return
        with found:
            for entry in found:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield FolderEntry(entry.name, stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime)


class _OpenDirectory:
    """Closed when nobody uses it any more."""

    __slots__ = ("fd",)

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            os.close(self.fd)


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux's own call, which Python does not offer; `posix_fadvise` would also drop what readers want
    next.
    """
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is None:
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    call.restype = ctypes.c_int
    found: Callable[[int, int, int, int], int] = call
    return found


_sync_file_range = _find_sync_file_range()


def _rest(
    buffers: list[bytes | bytearray | memoryview], written: int
) -> list[bytes | bytearray | memoryview]:
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []
