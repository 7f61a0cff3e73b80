"""Files as entries: what `stat`, xattrs and ownership notes say, in a layer's terms."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from entrepot.layers.directory import by_descriptor
from entrepot.layers.entry import KIND_OF_MODE, Entry, Kind
from entrepot.layers.errors import FileUnreadable
from entrepot.layers.ownership import read_override

CAPABILITY_XATTR = b"security.capability"
_READ_BYTES = 1 << 20
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV)
"""What opening answers when the file has been removed or replaced by something else."""
_DROPPED_XATTRS = (b"user.overlay.", b"user.containers.", b"user.fuseoverlayfs.")


def entry_at(
    dir_fd: int, name: bytes, status: os.stat_result, full_name: bytes, *, xattrs: bool = True
) -> Entry | None:
    """The entry of `name` in an open directory; None for a socket, which no layer holds.

    What an unprivileged unpack has written down about owner, mode and device takes the place of the file's
    own.
    Of xattrs, `security.capability` and `user.` ones are kept.
    """
    kind = KIND_OF_MODE.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    entry = Entry(
        full_name,
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_size if kind is Kind.FILE else 0,
        status.st_mtime_ns,
    )
    if kind is Kind.SYMLINK:
        entry.link = os.readlink(name, dir_fd=dir_fd)
        entry.mode = 0o777
    elif kind is Kind.CHAR_DEVICE or kind is Kind.BLOCK_DEVICE:
        entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    elif xattrs and kind is not Kind.FIFO:
        _read_attributes(dir_fd, name, status, entry)
    return entry


def _read_attributes(dir_fd: int, name: bytes, status: os.stat_result, entry: Entry) -> None:
    # The parent's descriptor in /proc is a directory that cannot be exchanged; the last component is not
    # followed.
    path = by_descriptor(dir_fd).encode() + b"/" + name
    try:
        keys = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return
    for key in keys:
        raw = os.fsencode(key)
        if raw == b"user.containers.override_stat":
            override = read_override(path, status)
            if override is not None:
                entry.uid, entry.gid, entry.mode = override.uid, override.gid, override.mode
                if override.kind in (Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE):
                    entry.kind, entry.size = override.kind, 0
                    entry.major, entry.minor = override.major, override.minor
        elif raw == CAPABILITY_XATTR or (raw.startswith(b"user.") and not raw.startswith(_DROPPED_XATTRS)):
            with contextlib.suppress(OSError):
                entry.xattrs[raw] = os.getxattr(path, key, follow_symlinks=False)


def file_data(dir_fd: int, name: bytes, size: int) -> Iterator[bytes]:
    """The bytes of a regular file, at most `size`. Nothing when it is no longer a regular file. Raises
    FileUnreadable."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise _unreadable(error, "open", dir_fd, name) from error
        return
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return
        while size > 0 and (piece := _read(fd, min(size, _READ_BYTES), dir_fd, name)):
            size -= len(piece)
            yield piece
    finally:
        os.close(fd)


def _read(fd: int, size: int, dir_fd: int, name: bytes) -> bytes:
    try:
        return os.read(fd, size)
    except OSError as error:
        raise _unreadable(error, "read", dir_fd, name) from error


def _unreadable(error: OSError, doing: str, dir_fd: int, name: bytes) -> FileUnreadable:
    """In docker's words: `open /home/me/key: permission denied`."""
    where = name.decode(errors="replace")
    with contextlib.suppress(OSError):
        where = f"{Path(by_descriptor(dir_fd)).readlink()}/{where}"
    return FileUnreadable(f"{doing} {where}: {(error.strerror or 'cannot be read').lower()}")
