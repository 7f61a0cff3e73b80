"""How big a layer is once unpacked, without unpacking it where the format says so.

gzip keeps the length of its last member, modulo 2^32, in its last four bytes (RFC 1952 §2.3.1); a zstd frame
usually starts with its content size (RFC 8878 §3.1.1.1), and a file of several is walked from header to
header. Other files of several members (eStargz) need a count. These are sizes to show; the truth is known
once a diff ID has been verified.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_CHUNK = 1 << 20
_RLE_BLOCK = 1
_LARGEST = 1 << 62  # headers may lie; what is kept has to fit into 64 bits
MAX_RATIO = 1100
"""gzip cannot do better than 1032 to 1, and real zstd layers do not; showing a size must not run for ever."""
COUNTED_RATIO = 32
COUNTED_BYTES = 1 << 30
"""A count ends at the larger of the two: real layers have less, others are shown as at least so much."""


def uncompressed_size(path: Path) -> int:
    """Bytes of the tar inside `path`, by its format's own word or by counting. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(18)
        if head.startswith(GZIP_MAGIC):
            return _gzip_size(path, size)
        if head.startswith(ZSTD_MAGIC) or _is_skippable(head):
            return _zstd_size(path, size)
    return size


def _is_skippable(head: bytes) -> bool:
    return len(head) >= 4 and struct.unpack("<I", head[:4])[0] in ZSTD_SKIPPABLE


def _gzip_size(path: Path, size: int) -> int:
    with path.open("rb") as file:
        file.seek(max(0, size - 4))
        tail = file.read(4)
    stated: int = struct.unpack("<I", tail)[0] if len(tail) == 4 else 0
    if stated < size // 2:
        # A last member smaller than the file: several members, or more than 4 GiB.
        return _count(path, size, "gzip")
    return stated


def _zstd_size(path: Path, size: int) -> int:
    with path.open("rb") as file:
        stated = _stated_by_frames(file.fileno(), size)
    return stated if stated is not None else _count(path, size, "zstd")


def _stated_by_frames(fd: int, size: int) -> int | None:
    """What all frames say they hold; None when one does not say. Reads headers of frames and blocks only."""
    import zstandard

    total = at = 0
    while at < size:
        head = os.pread(fd, 18, at)
        if _is_skippable(head) and len(head) >= 8:
            at += 8 + int.from_bytes(head[4:8], "little")
            continue
        try:
            frame = zstandard.get_frame_parameters(head)
            at += zstandard.frame_header_size(head)
        except zstandard.ZstdError:
            return None
        if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
            return None
        total += frame.content_size
        is_last = False
        while not is_last:
            block = os.pread(fd, 3, at)
            if len(block) < 3:
                return None
            word = int.from_bytes(block, "little")
            is_last, kind = bool(word & 1), word >> 1 & 3
            at += 3 + (1 if kind == _RLE_BLOCK else word >> 3)
        at += 4 * frame.has_checksum
    return min(total, _LARGEST)


def _count(path: Path, size: int, compression: str) -> int:
    limit = min(size * MAX_RATIO, max(size * COUNTED_RATIO, COUNTED_BYTES))
    total = 0
    try:
        with _opened(path, compression) as stream:
            while total <= limit and (data := stream.read(_CHUNK)):
                total += len(data)
    except Exception:  # noqa: BLE001 - three libraries' errors for "not what it says it is"
        return max(total, size)
    return total


def _opened(path: Path, compression: str):  # type: ignore[no-untyped-def]  # two libraries' stream classes
    if compression == "gzip":
        from isal import igzip

        return igzip.IGzipFile(os.fspath(path), "rb")  # type: ignore[no-untyped-call]  # isal has no types
    import zstandard

    file = path.open("rb")
    return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
        file, read_across_frames=True, closefd=True
    )
