"""Package databases made byte by byte."""

import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

STRING, INT32, STRING_ARRAY = 6, 4, 8


def rpm_header(
    name: str,
    version: str,
    release: str,
    *,
    epoch: int | None = None,
    source: str = "",
    files: Mapping[str, str] | None = None,
) -> bytes:
    """A header as rpm's databases hold it. `files`: base name to folder."""
    tags: list[tuple[int, int, bytes, int]] = [
        (1000, STRING, name.encode() + b"\0", 1),
        (1001, STRING, version.encode() + b"\0", 1),
        (1002, STRING, release.encode() + b"\0", 1),
        (1014, STRING, b"MIT\0", 1),
        (1022, STRING, b"x86_64\0", 1),
    ]
    if source:
        tags.append((1044, STRING, source.encode() + b"\0", 1))
    if files:
        folders = sorted(set(files.values()))
        tags.append((1117, STRING_ARRAY, b"".join(base.encode() + b"\0" for base in files), len(files)))
        tags.append(
            (1118, STRING_ARRAY, b"".join(folder.encode() + b"\0" for folder in folders), len(folders))
        )
        tags.append(
            (
                1116,
                INT32,
                struct.pack(f">{len(files)}i", *(folders.index(f) for f in files.values())),
                len(files),
            )
        )
    if epoch is not None:
        tags.append((1003, INT32, struct.pack(">i", epoch), 1))
    index, data = b"", b""
    for tag, kind, value, count in tags:
        data += b"\0" * (-len(data) % 4)
        index += struct.pack(">IIII", tag, kind, len(data), count)
        data += value
    return struct.pack(">II", len(tags), len(data)) + index + data


def rpm_sqlite(*headers: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rpmdb.sqlite"
        connection = sqlite3.connect(path)
        connection.execute(
            "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"
        )
        connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(header,) for header in headers])
        connection.commit()
        connection.close()
        return path.read_bytes()


def rpm_ndb(*headers: bytes) -> bytes:
    """One page of slots, blobs behind it."""
    slots, blobs, at = b"", b"", 4096 // 16
    for number, header in enumerate(headers, 1):
        blob = struct.pack("<4sIII", b"BlbS", number, 1, len(header)) + header
        blob += b"\0" * (-len(blob) % 16)
        slots += struct.pack("<4sIII", b"Slot", number, at, len(blob) // 16)
        blobs += blob
        at += len(blob) // 16
    head = struct.pack("<4sIII", b"RpmP", 0, 1, 1) + struct.pack("<IIII", len(headers) + 1, 0, 0, 0)
    slots += struct.pack("<4sIII", b"Slot", 0, 0, 0) * ((4096 - 32 - len(slots)) // 16)
    return head + slots + blobs


def elf(sections: Mapping[bytes, bytes]) -> bytes:
    """A little-endian 64-bit ELF file with nothing but these sections."""
    names, body, table = b"\0", b"", []
    for name, data in sections.items():
        table.append((len(names), 64 + len(body), len(data)))
        names += name + b"\0"
        body += data
    table.append((len(names), 64 + len(body), len(names) + len(b".shstrtab\0")))
    names += b".shstrtab\0"
    body += names
    body += b"\0" * (5000 - len(body)) if len(body) < 5000 else b""
    head = (
        b"\x7fELF\2\1\1"
        + bytes(9)
        + struct.pack(
            "<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, 64 + len(body), 0, 64, 56, 0, 64, len(table), len(table) - 1
        )
    )
    return (
        head
        + body
        + b"".join(
            struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 1, 0)
            for name, offset, size in table
        )
    )


def go_program(*lines: str, version: str = "go1.22.3") -> bytes:
    modules = b"0" * 16 + "".join(f"{line}\n" for line in lines).encode() + b"1" * 16
    info = b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16)
    for text in (version.encode(), modules):
        info += _varint(len(text)) + text
    return elf({b".go.buildinfo": info})


def rust_program(document: bytes) -> bytes:
    return elf({b".dep-v0": zlib.compress(document)})


def _varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
