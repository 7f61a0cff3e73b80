"""Reads a layer's tar stream: ustar, GNU and PAX headers, long names, sparse files.

Tar has no single definition, and two readers that disagree about one archive are a way to hide files
from the one that checks. So this reader refuses each form on which GNU tar and Go's archive/tar (docker,
containerd, podman) differ, instead of choosing a side:

- a wrong header checksum, a negative or malformed number;
- a PAX size that differs from a header size which could have held it;
- PAX and GNU extensions for the same entry, or one of them twice;
- global PAX headers that would change a name, size, owner, time or attribute;
- data on an entry that has none (directory, symlink, device, FIFO);
- a type that only one program knows (multi-volume, volume label, directory dump, Solaris extensions);
- anything but zeros after the end-of-archive blocks, or a single zero block followed by more.

Everything is read once, forward; nothing is kept but the header at hand. POSIX.1-2017 pax, GNU tar manual.
One long file: what one kind of header may say depends on what the others have said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from entrepot.layers.chunks import ChunkBuffer
from entrepot.layers.entry import Entry, Kind, Segment
from entrepot.layers.errors import InvalidLayer, LayerLimitExceeded
from entrepot.layers.limits import DEFAULT_LIMITS, UnpackLimits

BLOCK = 512
_ZERO_BLOCK = bytes(BLOCK)
_OCTAL_MAX_SIZE = 0o77777777777
"""The largest size that the 12-byte header field holds in octal; beyond it writers use PAX or base 256."""

_KINDS: dict[int, Kind] = {
    0: Kind.FILE,
    ord("0"): Kind.FILE,
    ord("7"): Kind.FILE,  # contiguous file, a plain one everywhere
    ord("S"): Kind.FILE,  # GNU sparse
    ord("1"): Kind.HARD_LINK,
    ord("2"): Kind.SYMLINK,
    ord("3"): Kind.CHAR_DEVICE,
    ord("4"): Kind.BLOCK_DEVICE,
    ord("5"): Kind.DIRECTORY,
    ord("6"): Kind.FIFO,
}
_PAX_NEXT, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"xgLKS"
_EXTENSIONS = frozenset((_PAX_NEXT, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK))

_XATTR_PREFIX = b"SCHILY.xattr."
_SPARSE_PREFIX = b"GNU.sparse."
_MEANINGFUL_GLOBALS = (
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"uname",
    b"gname",
    b"mtime",
    b"hdrcharset",
)
_OCTAL = re.compile(rb" *+([0-7]*+)[ \x00]*+\Z")
_DECIMAL = re.compile(rb"[0-9]{1,19}\Z")
_TIME = re.compile(rb"(-?)([0-9]{1,18})(?:\.([0-9]*))?\Z")


class _Extensions:
    """What the extension headers in front of an entry said."""

    __slots__ = ("gnu_link", "gnu_name", "pax", "sparse_pairs")

    def __init__(self) -> None:
        self.pax: dict[bytes, bytes] | None = None
        self.sparse_pairs: list[bytes] = []  # values of the repeated keys of PAX sparse format 0.0, in order
        self.gnu_name: bytes | None = None
        self.gnu_link: bytes | None = None


class _Sparse(NamedTuple):
    segments: tuple[Segment, ...]
    real_size: int
    map_bytes: int
    """Bytes of the entry's data that the map itself took."""


class TarReader:
    """Iterates over the entries of a tar stream; `data()` gives the current file's bytes.

    Data that is not read is skipped. Not thread safe. Raises InvalidLayer or LayerLimitExceeded; after either
    the stream is of no further use.
    """

    def __init__(self, chunks: Iterator[bytes] | ChunkBuffer, limits: UnpackLimits = DEFAULT_LIMITS) -> None:
        self._buffer = chunks if isinstance(chunks, ChunkBuffer) else ChunkBuffer(chunks)
        self._limits = limits
        self._unread = 0  # data bytes of the current entry
        self._padding = 0
        self._headers = 0
        self._sparse_bytes = 0
        self._segments: tuple[Segment, ...] | None = None

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next_entry()) is not None:
            yield entry

    def data(self) -> Iterator[tuple[int, memoryview]]:
        """The current file's data as (offset in the file, bytes). Holes of sparse files are not mentioned."""
        if self._segments is None:
            at = 0
            while self._unread:
                for piece in self._buffer.pieces(self._unread):
                    self._unread -= len(piece)
                    yield at, piece
                    at += len(piece)
            return
        for offset, length in self._segments:
            at = offset
            for piece in self._buffer.pieces(length):
                self._unread -= len(piece)
                yield at, piece
                at += len(piece)

    @property
    def position(self) -> int:
        """Where in the stream the next unread byte is: the current file's data, until it is read."""
        return self._buffer.position

    # One entry: extension headers, the header itself, the map of a sparse file.

    def _next_entry(self) -> Entry | None:
        extensions = _Extensions()
        extended = False
        while True:
            self._skip_data()
            header = self._read_header()
            if header is None:
                if extended:
                    raise InvalidLayer(
                        "the layer ends after an extension header; the entry it describes is missing"
                    )
                return None
            if header[156] not in _EXTENSIONS:
                return self._entry(header, extensions)
            self._read_extension(header, extensions)
            extended = extended or header[156] != _PAX_GLOBAL

    def _skip_data(self) -> None:
        buffer = self._buffer
        if self._unread:
            buffer.skip(self._unread)
            self._unread = 0
        if self._padding:
            if buffer.read_block(self._padding) is None:
                raise InvalidLayer("the layer ends before the padding of its last file")
            self._padding = 0

    def _read_header(self) -> bytes | None:
        header = self._buffer.read_block(BLOCK)
        if header is None:
            return None
        if header == _ZERO_BLOCK:
            self._read_end()
            return None
        self._headers += 1
        if self._headers > self._limits.max_entries:
            raise LayerLimitExceeded(f"the layer has more than {self._limits.max_entries} entries")
        _check_sum(header, self._buffer.position - BLOCK)
        return header

    def _read_end(self) -> None:
        """After the first zero block: a second one or the end, then zeros only."""
        for piece in self._buffer.rest():
            if piece.tobytes().strip(b"\0"):
                raise InvalidLayer(
                    f"the layer has data after its end-of-archive block, before byte "
                    f"{self._buffer.position}; "
                    "readers disagree about what such data means"
                )

    def _read_extension(self, header: bytes, extensions: _Extensions) -> None:
        size = _number(header[124:136], "size")
        if size > self._limits.max_header_bytes:
            raise LayerLimitExceeded(
                f"an extension header of {size} bytes; at most {self._limits.max_header_bytes} are read"
            )
        body = self._buffer.read_block(size) if size else b""
        if body is None:
            raise InvalidLayer("the layer ends inside of an extension header")
        self._padding = -size % BLOCK
        kind = header[156]
        if kind == _PAX_GLOBAL:
            _check_globals(_parse_pax(body, []))
        elif kind == _PAX_NEXT:
            if extensions.pax is not None:
                raise InvalidLayer("two PAX headers for one entry")
            extensions.pax = _parse_pax(body, extensions.sparse_pairs)
        elif kind == _GNU_NAME:
            if extensions.gnu_name is not None:
                raise InvalidLayer("two GNU long names for one entry")
            extensions.gnu_name = _c_string(body)
        else:
            if extensions.gnu_link is not None:
                raise InvalidLayer("two GNU long link names for one entry")
            extensions.gnu_link = _c_string(body)
        if extensions.pax is not None and (
            extensions.gnu_name is not None or extensions.gnu_link is not None
        ):
            raise InvalidLayer("PAX and GNU extensions for one entry; readers disagree about which one holds")

    def _entry(self, header: bytes, extensions: _Extensions) -> Entry:
        flag = header[156]
        kind = _KINDS.get(flag)
        if kind is None:
            raise InvalidLayer(
                f"entry {_header_name(header)!r} has type {bytes([flag])!r}, which no image layer holds"
            )
        pax = extensions.pax
        stored = _stored_size(header, pax)
        entry = Entry(
            extensions.gnu_name if extensions.gnu_name is not None else _header_name(header),
            kind,
            _number(header[100:108], "mode") & 0o7777,
            _number(header[108:116], "uid"),
            _number(header[116:124], "gid"),
            stored,
            _signed_number(header[136:148], "mtime") * 1_000_000_000,
            (extensions.gnu_link if extensions.gnu_link is not None else _c_string(header[157:257]))
            if kind is Kind.HARD_LINK or kind is Kind.SYMLINK
            else b"",
        )
        if kind is Kind.CHAR_DEVICE or kind is Kind.BLOCK_DEVICE:
            entry.major = _number(header[329:337], "device major")
            entry.minor = _number(header[337:345], "device minor")
        if pax:
            _apply_pax(entry, pax)
        if kind is Kind.FILE and entry.name.endswith(b"/"):
            entry.kind = kind = Kind.DIRECTORY  # as Unix V7 wrote directories
        self._check(entry, stored)
        self._segments = None
        if flag == _GNU_SPARSE or (pax and any(key.startswith(_SPARSE_PREFIX) for key in pax)):
            if kind is not Kind.FILE:
                raise InvalidLayer(f"entry {entry.name!r} is sparse but no file")
            self._read_sparse(entry, header if flag == _GNU_SPARSE else None, extensions, stored)
            self._check(entry, entry.size)
        else:
            self._unread = entry.size
            self._padding = -entry.size % BLOCK
        return entry

    def _check(self, entry: Entry, stored: int) -> None:
        limits = self._limits
        name = entry.name
        if not name:
            raise InvalidLayer("an entry without a name")
        if len(name) > limits.max_path_bytes or len(entry.link) > limits.max_path_bytes:
            raise LayerLimitExceeded(
                f"entry {name[:80]!r}… has a name of more than {limits.max_path_bytes} bytes"
            )
        if entry.kind is Kind.FILE:
            if entry.size > limits.max_file_bytes:
                raise LayerLimitExceeded(
                    f"file {name!r} claims {entry.size} bytes; at most {limits.max_file_bytes} are unpacked"
                )
            return
        if entry.kind is not Kind.HARD_LINK and stored:
            raise InvalidLayer(f"entry {name!r} is a {entry.kind.name.lower()} with {stored} bytes of data")
        if entry.kind in (Kind.HARD_LINK, Kind.SYMLINK) and not entry.link:
            raise InvalidLayer(f"link {name!r} has no target")
        # Old writers put the target's size on a hard link and no data after it; GNU tar and Go read it so.
        entry.size = 0

    # Sparse files: the old GNU form, and PAX 0.0, 0.1 and 1.0.

    def _read_sparse(self, entry: Entry, header: bytes | None, extensions: _Extensions, stored: int) -> None:
        if header is not None:
            if extensions.pax and any(key.startswith(_SPARSE_PREFIX) for key in extensions.pax):
                raise InvalidLayer(f"entry {entry.name!r} has two maps of its holes")
            sparse = self._gnu_sparse(header)
        else:
            sparse = self._pax_sparse(entry, extensions)
        if sum(length for _, length in sparse.segments) + sparse.map_bytes != stored:
            raise InvalidLayer(f"sparse file {entry.name!r}: its map and its data differ in length")
        self._sparse_bytes += sparse.real_size
        if self._sparse_bytes > self._limits.max_sparse_bytes:
            raise LayerLimitExceeded(
                f"sparse files of more than {self._limits.max_sparse_bytes} bytes in all"
            )
        entry.size = sparse.real_size
        entry.segments = self._segments = tuple(s for s in sparse.segments if s[1])
        self._unread = stored - sparse.map_bytes
        self._padding = -stored % BLOCK

    def _gnu_sparse(self, header: bytes) -> _Sparse:
        fields: list[int] = []
        real_size = _number(header[483:495], "sparse size")
        used, block, count, at, extended = 0, header, 4, 386, header[482]
        while True:
            for index in range(count):
                start = at + index * 24
                if not block[start]:
                    break
                fields.append(_number(block[start : start + 12], "sparse offset"))
                fields.append(_number(block[start + 12 : start + 24], "sparse length"))
            if not extended:
                return _Sparse(self._segments_of(fields, real_size), real_size, 0)
            block = self._sparse_map_block(used, self._limits.max_sparse_map_bytes + BLOCK)
            used, count, at, extended = used + BLOCK, 21, 0, block[504]

    def _pax_sparse(self, entry: Entry, extensions: _Extensions) -> _Sparse:
        pax = extensions.pax or {}
        version = (pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor"))
        name = pax.get(b"GNU.sparse.name")
        if name:
            entry.name = name
        if version == (b"1", b"0"):
            real_size = _decimal(pax.get(b"GNU.sparse.realsize", b""), "sparse size")
            fields, map_bytes = self._read_sparse_map(entry.size)
            return _Sparse(self._segments_of(fields, real_size), real_size, map_bytes)
        if version not in ((None, None), (b"0", b"0"), (b"0", b"1")):
            raise InvalidLayer(f"entry {entry.name!r} has holes in an unknown format")
        real_size = _decimal(pax.get(b"GNU.sparse.size", b""), "sparse size")
        if b"GNU.sparse.map" in pax:
            numbers = pax[b"GNU.sparse.map"].split(b",")
        else:
            numbers = extensions.sparse_pairs
        fields = _decimals(numbers, "sparse map")
        if 2 * _decimal(pax.get(b"GNU.sparse.numblocks", b""), "sparse blocks") != len(fields):
            raise InvalidLayer(f"entry {entry.name!r}: its map of holes has another length than it says")
        return _Sparse(self._segments_of(fields, real_size), real_size, 0)

    def _read_sparse_map(self, available: int) -> tuple[list[int], int]:
        """The map of PAX sparse format 1.0: decimal lines in front of the data, padded to whole blocks."""
        text = bytearray(self._sparse_map_block(0, available))
        count, newline, _ = bytes(text).partition(b"\n")
        if not newline:
            raise InvalidLayer("a sparse map that does not end")
        blocks = _decimal(count, "sparse blocks")
        self._check_segment_count(blocks)
        lines, wanted = text.count(b"\n"), 1 + 2 * blocks
        while lines < wanted:
            block = self._sparse_map_block(len(text), available)
            lines += block.count(b"\n")
            text += block
        return _decimals(bytes(text).split(b"\n", wanted)[1:wanted], "sparse map"), len(text)

    def _sparse_map_block(self, used: int, available: int) -> bytes:
        """The next block of a map of which `used` bytes are read."""
        if used + BLOCK > available:
            raise InvalidLayer("a sparse map that does not end")
        if used + BLOCK > self._limits.max_sparse_map_bytes:
            raise LayerLimitExceeded(
                f"a map of a sparse file's data of more than {self._limits.max_sparse_map_bytes} bytes"
            )
        block = self._buffer.read_block(BLOCK)
        if block is None:
            raise InvalidLayer("the layer ends inside of a sparse map")
        return block

    def _check_segment_count(self, count: int) -> None:
        if count > self._limits.max_sparse_segments:
            raise LayerLimitExceeded(
                f"a sparse file of more than {self._limits.max_sparse_segments} segments"
            )

    def _segments_of(self, fields: list[int], real_size: int) -> tuple[Segment, ...]:
        self._check_segment_count(len(fields) // 2)
        if len(fields) % 2:
            raise InvalidLayer("a sparse map with an odd count of numbers")
        segments = tuple(zip(fields[::2], fields[1::2], strict=True))
        end = 0
        for offset, length in segments:
            if offset < end:
                raise InvalidLayer("a sparse map whose segments overlap or are out of order")
            end = offset + length
        if end > real_size:
            raise InvalidLayer("a sparse map that reaches beyond the end of its file")
        return segments


# Fields of a header.


def _check_sum(header: bytes, position: int) -> None:
    said = _number(header[148:156], "checksum")
    total = sum(header) - sum(header[148:156]) + 8 * 32
    if total == said:
        return
    # Sun's tar added signed bytes; GNU tar and Go accept that too.
    signed = total - 256 * sum(1 for i, byte in enumerate(header) if byte > 127 and not 148 <= i < 156)
    if signed != said:
        raise InvalidLayer(f"byte {position} of the layer is no tar header: its checksum is wrong")


def _c_string(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _header_name(header: bytes) -> bytes:
    name = _c_string(header[:100])
    # Only POSIX's magic has a prefix; GNU keeps times and sparse maps in its place.
    if header[257:263] == b"ustar\0" and header[345]:
        return _c_string(header[345:500]) + b"/" + name
    return name


def _number(field: bytes, what: str) -> int:
    value = _signed_number(field, what)
    if value < 0:
        raise InvalidLayer(f"a negative {what} in a tar header")
    return value


def _signed_number(field: bytes, what: str) -> int:
    match = _OCTAL.match(field)
    if match is not None:
        return int(match[1] or b"0", 8)
    if field[0] & 0x80:  # base 256, GNU: 0x80 positive, 0xff negative
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40:
            value -= 1 << (len(field) * 8 - 1)
        if not -(1 << 63) <= value < 1 << 63:
            raise InvalidLayer(f"a {what} of more than 63 bits in a tar header")
        return value
    raise InvalidLayer(f"a {what} that is no number in a tar header: {field!r}")


def _decimal(text: bytes, what: str) -> int:
    if not _DECIMAL.match(text):
        raise InvalidLayer(f"a {what} that is no number in a PAX header: {text[:40]!r}")
    return int(text)


def _decimals(texts: list[bytes], what: str) -> list[int]:
    if texts and all(map(bytes.isdigit, texts)) and max(map(len, texts)) <= 19:
        return list(map(int, texts))  # a map may have half a million: five times as fast as one by one
    return [_decimal(text, what) for text in texts]


def _stored_size(header: bytes, pax: dict[bytes, bytes] | None) -> int:
    """Bytes of data after the header."""
    size = _number(header[124:136], "size")
    if not pax or b"size" not in pax:
        return size
    said = _decimal(pax[b"size"], "size")
    if said != size and said <= _OCTAL_MAX_SIZE:
        raise InvalidLayer(
            f"entry {_header_name(header)!r} has two sizes, {size} and {said}; readers disagree about "
            f"which one holds"
        )
    return said


# PAX records.


def _parse_pax(body: bytes, sparse_pairs: list[bytes]) -> dict[bytes, bytes]:
    """Keys to values; the values of the repeated keys of sparse format 0.0 go to `sparse_pairs`."""
    records: dict[bytes, bytes] = {}
    at = 0
    end = len(body)
    while at < end:
        space = body.find(b" ", at, at + 12)
        digits = body[at:space] if space > 0 else b""
        if not _DECIMAL.match(digits):
            raise InvalidLayer("a PAX record without a length")
        stop = at + int(digits)
        if stop > end or stop <= space + 1 or body[stop - 1] != 0x0A:
            raise InvalidLayer("a PAX record whose length is wrong")
        key, equals, value = body[space + 1 : stop - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise InvalidLayer("a PAX record without a key")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            if (len(sparse_pairs) % 2 == 0) != (key == b"GNU.sparse.offset"):
                raise InvalidLayer("a sparse map whose offsets and lengths do not alternate")
            sparse_pairs.append(value)
        elif key in records and records[key] != value:
            raise InvalidLayer(f"a PAX header that says {key!r} twice")
        records[key] = value
        at = stop
    return records


def _check_globals(records: dict[bytes, bytes]) -> None:
    for key in records:
        if key in _MEANINGFUL_GLOBALS or key.startswith((_XATTR_PREFIX, _SPARSE_PREFIX)):
            raise InvalidLayer(f"a global PAX header sets {key!r}; readers disagree about whether it holds")


def _apply_pax(entry: Entry, pax: dict[bytes, bytes]) -> None:
    for key, value in pax.items():
        if key.startswith(_XATTR_PREFIX):
            name = key[len(_XATTR_PREFIX) :]
            if name:
                entry.xattrs[name] = value
        elif not value:
            continue  # an empty value takes back what a global header said; those hold nothing here
        elif key == b"path":
            entry.name = _text(value, "path")
        elif key == b"linkpath":
            if entry.kind in (Kind.HARD_LINK, Kind.SYMLINK):
                entry.link = _text(value, "linkpath")
        elif key == b"uid":
            entry.uid = _decimal(value, "uid")
        elif key == b"gid":
            entry.gid = _decimal(value, "gid")
        elif key == b"mtime":
            entry.mtime_ns = _time_ns(value)


def _text(value: bytes, what: str) -> bytes:
    if b"\0" in value:
        raise InvalidLayer(f"a PAX {what} with a NUL byte")
    return value


def _time_ns(value: bytes) -> int:
    match = _TIME.match(value)
    if match is None:
        raise InvalidLayer(f"a PAX time that is no number: {value[:40]!r}")
    sign, seconds, fraction = match.groups()
    nanoseconds = int(seconds) * 1_000_000_000 + int((fraction or b"").ljust(9, b"0")[:9])
    return -nanoseconds if sign else nanoseconds
