"""One entry of a tar stream or of a file tree, in the terms both share.

Names are bytes: a file name on Linux has no encoding. Names are kept as they were written; `apply`
decides what they mean.
"""

from __future__ import annotations

import stat
from enum import Enum

from msgspec import Struct


class Kind(Enum):
    """What an entry is; the value is the typeflag that we write."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHAR_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


# A segment of data in a sparse file: (offset, length).
Segment = tuple[int, int]


class Entry(Struct):
    """What a tar header says, after PAX and GNU extensions are taken into account."""

    name: bytes
    kind: Kind
    mode: int = 0o644
    """Permission bits with setuid, setgid and sticky; no file type."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes of the file; for a sparse file its apparent size. 0 for everything that is no file."""
    mtime_ns: int = 0
    link: bytes = b""
    """Target of a hard link (a name in the layer) or of a symlink (any text)."""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = {}
    segments: tuple[Segment, ...] | None = None
    """Where a sparse file has data; None for an ordinary file."""


KIND_OF_MODE: dict[int, Kind] = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}
"""File type bits of `st_mode` to kind. Sockets are missing: no layer format holds them."""
