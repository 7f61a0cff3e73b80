"""Writes the tar stream of a layer or an export, the way Go's archive/tar does for docker.

USTAR headers with empty user and group names and whole seconds; a PAX header only where a field does not fit
(long
or non-ASCII names, large numbers, xattrs), with its records sorted. The same entries give the same bytes, and
for
what docker can write they are the bytes docker writes. POSIX.1-2017 pax.
"""

from __future__ import annotations

from collections.abc import Iterable

from entrepot.layers.chunks import Writable
from entrepot.layers.entry import Entry, Kind

BLOCK = 512
_ZEROS = bytes(1 << 16)
_OCTAL_ID = 0o7777777
_OCTAL_SIZE = 0o77777777777
_NANOSECOND = 1_000_000_000


class TarWriter:
    """Writes entries one after another; `close` adds the end of the archive but does not close the output."""

    def __init__(self, out: Writable, *, latest_s: int | None = None) -> None:
        """`latest_s` (SOURCE_DATE_EPOCH) replaces every later time."""
        self._out = out
        self._latest_s = latest_s
        self.data_bytes = 0
        """Of all files so far."""

    def add(self, entry: Entry, data: Iterable[bytes | memoryview] = ()) -> None:
        """Write a header and, for a file, exactly `entry.size` bytes: too little is filled with zeros, too
        much is cut.

        So a file that changes while it is read does not damage the archive.
        """
        self.add_header(entry)
        if entry.kind is not Kind.FILE:
            return
        self.data_bytes += entry.size
        left = entry.size
        for piece in data:
            if len(piece) > left:
                piece = piece[:left]
            if piece:
                self._out.write(piece)
                left -= len(piece)
            if not left:
                break
        fill = left + (-entry.size % BLOCK)
        while fill:
            self._out.write(_ZEROS[: min(fill, len(_ZEROS))])
            fill -= min(fill, len(_ZEROS))

    def add_header(self, entry: Entry) -> None:
        """The header alone: the caller writes a file's bytes itself, and zeros up to a whole block."""
        self._out.write(self._header(entry))

    def close(self) -> None:
        """Two zero blocks."""
        self._out.write(_ZEROS[: 2 * BLOCK])

    def _header(self, entry: Entry) -> bytes:
        name = (
            entry.name + b"/"
            if entry.kind is Kind.DIRECTORY and not entry.name.endswith(b"/")
            else entry.name
        )
        seconds = entry.mtime_ns // _NANOSECOND
        if self._latest_s is not None:
            seconds = min(seconds, self._latest_s)
        size = entry.size if entry.kind is Kind.FILE else 0
        records: dict[bytes, bytes] = {}
        if len(name) > 100 or not name.isascii():
            records[b"path"] = name
        if len(entry.link) > 100 or not entry.link.isascii():
            records[b"linkpath"] = entry.link
        if entry.uid > _OCTAL_ID:
            records[b"uid"] = b"%d" % entry.uid
        if entry.gid > _OCTAL_ID:
            records[b"gid"] = b"%d" % entry.gid
        if size > _OCTAL_SIZE:
            records[b"size"] = b"%d" % size
        if not 0 <= seconds <= _OCTAL_SIZE:
            records[b"mtime"] = b"%d" % seconds
        for key, value in entry.xattrs.items():
            records[b"SCHILY.xattr." + key] = value
        header = _block(
            name,
            entry.kind.value,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            size=size,
            mtime=seconds,
            link=entry.link,
            major=entry.major,
            minor=entry.minor,
        )
        return _pax_header(name, records) + header if records else header


def _pax_header(name: bytes, records: dict[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    head, _, base = name.rstrip(b"/").rpartition(b"/")
    pax_name = b"/".join(part for part in (head, b"PaxHeaders.0", base) if part)
    header = _block(pax_name, b"x", size=len(body))
    return header + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value\\n`, where the length counts itself."""
    rest = len(key) + len(value) + 3
    size = rest + len(str(rest))
    record = b"%d %s=%s\n" % (size, key, value)
    if len(record) != size:
        record = b"%d %s=%s\n" % (len(record), key, value)
    return record


def _text(value: bytes, width: int) -> bytes:
    text = value if value.isascii() else bytes(byte for byte in value if byte < 128)
    cut = text[:width]
    if len(text) > width and cut.endswith(b"/"):
        # Some readers take a cut name that ends so for a directory's.
        cut = cut.rstrip(b"/")
    return cut.ljust(width, b"\0")


def _octal(value: int, width: int) -> bytes:
    """Zero when it does not fit; the PAX record then holds the value."""
    if not 0 <= value < 8 ** (width - 1):
        value = 0
    return b"%0*o\0" % (width - 1, value)


def _block(
    name: bytes,
    kind: bytes,
    *,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
) -> bytes:
    front = b"".join(
        (
            _text(name, 100),
            _octal(mode, 8),
            _octal(uid, 8),
            _octal(gid, 8),
            _octal(size, 12),
            _octal(mtime, 12),
        )
    )
    back = b"".join(
        (
            kind,
            _text(link, 100),
            b"ustar\x0000",
            bytes(64),
            _octal(major, 8),
            _octal(minor, 8),
            bytes(167),
        )
    )
    total = sum(front) + sum(back) + 8 * 32
    return front + b"%06o\0 " % total + back
