"""Tar streams made block by block, so that tests can say things no sane writer would."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)


def header(
    name: bytes,
    *,
    kind: bytes = b"0",
    size: int = 0,
    size_field: bytes | None = None,
    link: bytes = b"",
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1_700_000_000,
    magic: bytes = b"ustar\x0000",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
    checksum: bytes | None = None,
    sparse_continues: bool = False,
) -> bytes:
    """One header block, its checksum right unless `checksum` says otherwise."""
    block = bytearray(BLOCK)
    block[0 : len(name[:100])] = name[:100]
    block[100:108] = b"%07o\0" % mode
    block[108:116] = b"%07o\0" % uid
    block[116:124] = b"%07o\0" % gid
    block[124:136] = size_field if size_field is not None else b"%011o\0" % size
    block[136:148] = b"%011o\0" % mtime
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + len(link[:100])] = link[:100]
    block[257 : 257 + len(magic)] = magic
    block[329:337] = b"%07o\0" % device[0]
    block[337:345] = b"%07o\0" % device[1]
    block[345 : 345 + len(prefix[:155])] = prefix[:155]
    if sparse_continues:  # old GNU form: more of the map follows in its own blocks
        block[482] = 1
        block[483:495] = b"%011o\0" % 0
    block[148:156] = checksum if checksum is not None else b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    """Data filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def file(name: bytes, data: bytes = b"", **fields: object) -> bytes:
    """A header and its data."""
    return header(name, size=len(data), **fields) + padded(data)  # type: ignore[arg-type]


def directory(name: bytes, mode: int = 0o755, **fields: object) -> bytes:
    return header(name, kind=b"5", mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, kind=b"2", link=target, mode=0o777)


def hard_link(name: bytes, target: bytes) -> bytes:
    return header(name, kind=b"1", link=target)


def pax(records: Mapping[bytes, bytes], *, kind: bytes = b"x") -> bytes:
    """An extension header."""
    body = b"".join(record(key, value) for key, value in records.items())
    return header(b"PaxHeaders.0/x", kind=kind, size=len(body)) + padded(body)


def record(key: bytes, value: bytes) -> bytes:
    """`length key=value\\n`."""
    rest = len(key) + len(value) + 3
    size = rest + len(str(rest))
    if len(b"%d %s=%s\n" % (size, key, value)) != size:
        size += 1
    return b"%d %s=%s\n" % (size, key, value)


def gnu_long(name: bytes, *, kind: bytes = b"L") -> bytes:
    """A GNU long name, or with kind `K` a long link target."""
    body = name + b"\0"
    return header(b"././@LongLink", kind=kind, size=len(body), magic=b"ustar  \0") + padded(body)


def archive(*entries: bytes) -> bytes:
    """Entries and the end of the archive."""
    return b"".join(entries) + END


def listed_by_python(data: bytes) -> list[tuple[str, int, bytes]]:
    """What another reader sees: name, size and type of each entry."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(member.name, member.size, member.type) for member in tar]
