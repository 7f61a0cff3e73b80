"""What a layer says about each name, read from its tar once.

The order is the tar's and stays: a name may come twice, and a hard link means what stood there before it.
image-spec: Layer Filesystem Changeset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from enum import Enum

from msgspec import Struct

from entrepot.layers.chunks import Writable
from entrepot.layers.entry import Entry, Kind, Segment
from entrepot.layers.limits import DEFAULT_LIMITS, UnpackLimits
from entrepot.layers.paths import Path, parse_path
from entrepot.layers.tar_reader import TarReader
from entrepot.layers.whiteout import Ignored, Opaque, Whiteout, parse_whiteout

MAX_HASHED_HOLES = 256 << 20
"""Bytes of holes that are hashed for one layer: a sparse file of 256 GiB takes a kilobyte of a layer, and
minutes to hash."""


class What(Enum):
    """What a layer says of a path. Values are those of the stored list."""

    FILE = "f"
    HARD_LINK = "h"
    SYMLINK = "l"
    CHAR_DEVICE = "c"
    BLOCK_DEVICE = "b"
    DIRECTORY = "d"
    FIFO = "p"
    REMOVED = "w"
    """What lower layers have there is gone (a whiteout)."""
    EMPTIED = "o"
    """What lower layers have below it is gone (an opaque directory)."""


_OF_KIND = {
    Kind.FILE: What.FILE,
    Kind.HARD_LINK: What.HARD_LINK,
    Kind.SYMLINK: What.SYMLINK,
    Kind.CHAR_DEVICE: What.CHAR_DEVICE,
    Kind.BLOCK_DEVICE: What.BLOCK_DEVICE,
    Kind.DIRECTORY: What.DIRECTORY,
    Kind.FIFO: What.FIFO,
}


class LayerEntry(Struct, array_like=True):
    """One name of a layer."""

    what: What
    path: Path
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes of a file, holes included; 0 for everything else."""
    mtime_ns: int = 0
    link: bytes = b""
    """Target of a hard link (a name in the tree) or of a symlink (any text)."""
    major: int = 0
    minor: int = 0
    sha256: bytes = b""
    """Of a file's content; empty when it was not asked for, or holes make it too long."""
    offset: int = 0
    """Where a file's data begins in the uncompressed tar."""
    segments: tuple[Segment, ...] | None = None
    """Where a sparse file has data."""
    xattrs: dict[bytes, bytes] = {}

    @property
    def data_bytes(self) -> int:
        """Bytes of the file's data in the tar: without its holes."""
        return self.size if self.segments is None else sum(length for _, length in self.segments)


Capture = Callable[[LayerEntry], Writable | None]
"""Where the content of a file goes; None for nowhere. Holes are written too."""


def read_layer(
    chunks: Iterator[bytes],
    *,
    digests: bool = False,
    capture: Capture | None = None,
    limits: UnpackLimits = DEFAULT_LIMITS,
) -> Iterator[LayerEntry]:
    """The entries of an uncompressed layer, which is read to its end.

    `digests` hashes every file. Raises InvalidLayer, UnsafePath, LayerLimitExceeded: what can't be unpacked
    has no list either.
    """
    reader = TarReader(chunks, limits)
    holes_left = MAX_HASHED_HOLES
    for raw in reader:
        entry = _entry(raw, reader.position, limits)
        if entry is None:
            continue
        if entry.what is What.FILE:
            target = capture(entry) if capture is not None else None
            hasher = None
            if digests:
                holes_left -= entry.size - entry.data_bytes
                if holes_left >= 0 or entry.segments is None:
                    hasher = hashlib.sha256()
            if hasher is not None or target is not None:
                for piece in whole_content(reader.data(), entry.size):
                    if hasher is not None:
                        hasher.update(piece)
                    if target is not None:
                        target.write(piece)
            if hasher is not None:
                entry.sha256 = hasher.digest()
        yield entry


def _entry(raw: Entry, position: int, limits: UnpackLimits) -> LayerEntry | None:
    path = parse_path(raw.name, limits)
    found = parse_whiteout(path[-1]) if path else None
    if isinstance(found, Ignored):
        return None
    if isinstance(found, Whiteout):
        return LayerEntry(What.REMOVED, (*path[:-1], found.name), mtime_ns=raw.mtime_ns)
    if isinstance(found, Opaque):
        return LayerEntry(What.EMPTIED, path[:-1], mtime_ns=raw.mtime_ns)
    return LayerEntry(
        _OF_KIND[raw.kind],
        path,
        raw.mode,
        raw.uid,
        raw.gid,
        raw.size,
        raw.mtime_ns,
        raw.link,
        raw.major,
        raw.minor,
        b"",
        position if raw.kind is Kind.FILE else 0,
        raw.segments,
        raw.xattrs,
    )


_ZEROS = bytes(1 << 20)


def whole_content(data: Iterator[tuple[int, memoryview]], size: int) -> Iterator[bytes | memoryview]:
    """A file's bytes from its data, zeros in its holes."""
    at = 0
    for offset, piece in data:
        yield from _zeros(offset - at)
        yield piece
        at = offset + len(piece)
    yield from _zeros(size - at)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        piece = _ZEROS[:count]
        count -= len(piece)
        yield piece
