"""rpm's databases: SQLite (`rpmdb.sqlite`) and ndb (`Packages.db`), and the headers in them.

A header is a table of (tag, type, offset, count), big-endian, and what it points into (rpm: Header format).
Berkeley DB, which rpm gave up in 2020, is told as not readable.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing

from entrepot.inventory.packages.ownership import is_ownable
from entrepot.inventory.packages.package import (
    Ecosystem,
    Evidence,
    EvidenceTooLarge,
    InvalidEvidence,
    Package,
)

_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_LICENCE, _ARCHITECTURE, _SOURCE_RPM = 1014, 1022, 1044
_DIR_INDEXES, _BASE_NAMES, _DIR_NAMES = 1116, 1117, 1118
_INT32, _STRING, _STRING_ARRAY, _I18N = 4, 6, 8, 9
_MAX_TAGS = 0xFFFF
_MAX_HEADER_BYTES = 256 << 20
MAX_PACKAGES = 100_000
_SQLITE_STEPS = 200_000_000
"""Instructions of SQLite's machine for one database: a made-up schema must not run for ever."""


def read_sqlite(_path: str, data: bytes) -> Evidence:
    """Raises InvalidEvidence for what SQLite cannot read."""
    return _evidence(_sqlite_blobs(data))


def read_ndb(_path: str, data: bytes) -> Evidence:
    """Raises InvalidEvidence."""
    return _evidence(_ndb_blobs(data))


def read_berkeley(_path: str, _data: bytes) -> Evidence:
    """Always raises InvalidEvidence: said, so that nobody takes the image for one without packages."""
    raise InvalidEvidence("rpm's Berkeley DB format is not read; its packages are missing from the list")


def _sqlite_blobs(data: bytes) -> Iterator[bytes]:
    if not data.startswith(b"SQLite format 3\0"):
        raise InvalidEvidence("no SQLite database")
    # The database was copied while its log (-wal) was not: read it as a database without one.
    data = data[:18] + b"\1\1" + data[20:]
    with closing(sqlite3.connect(":memory:")) as connection:
        left = [_SQLITE_STEPS // 10_000]

        def count() -> int:
            left[0] -= 1
            return left[0] < 0

        try:
            connection.deserialize(data)
            connection.set_progress_handler(count, 10_000)
            connection.execute("PRAGMA trusted_schema = OFF")
            kinds = connection.execute("SELECT type FROM sqlite_master WHERE name = 'Packages'").fetchall()
            if kinds != [("table",)]:
                raise InvalidEvidence("no table of packages in it")
            for (blob,) in connection.execute("SELECT blob FROM Packages"):
                if isinstance(blob, bytes):
                    yield blob
        except (sqlite3.Error, OverflowError, MemoryError) as error:
            raise InvalidEvidence(f"the database is damaged or cut: {error}") from error


def _ndb_blobs(data: bytes) -> Iterator[bytes]:
    if len(data) < 32 or data[:4] != b"RpmP":
        raise InvalidEvidence("no ndb database")
    pages = int.from_bytes(data[12:16], "little")
    end = min(pages * 4096, len(data))
    for at in range(32, end - 15, 16):
        magic, index, block, count = struct.unpack_from("<4sIII", data, at)
        if magic != b"Slot":
            raise InvalidEvidence(f"the database is damaged: byte {at} is no slot")
        if not index:
            continue
        start = block * 16
        if start + 16 > len(data) or data[start : start + 4] != b"BlbS":
            raise InvalidEvidence("the database is damaged or cut: a package's block is missing")
        length = int.from_bytes(data[start + 12 : start + 16], "little")
        if length > count * 16 or start + 16 + length > len(data):
            raise InvalidEvidence("the database is damaged or cut: a package's block is too short")
        yield data[start + 16 : start + 16 + length]


def _evidence(blobs: Iterator[bytes]) -> Evidence:
    packages: list[Package] = []
    owned: list[str] = []
    for blob in blobs:
        if len(packages) >= MAX_PACKAGES:
            raise EvidenceTooLarge(f"more than {MAX_PACKAGES} packages in one database")
        header = Header(blob)
        package = _package(header)
        if package is not None:
            packages.append(package)
            owned.extend(_owned(header))
    return Evidence(tuple(packages), owned=tuple(owned))


class Header:
    """The tags of one package. Raises InvalidEvidence where a tag points outside of the data."""

    def __init__(self, blob: bytes) -> None:
        if len(blob) < 8 or len(blob) > _MAX_HEADER_BYTES:
            raise InvalidEvidence("a package's header is cut")
        count, size = struct.unpack_from(">II", blob)
        self._start = 8 + 16 * count
        if count > _MAX_TAGS or self._start + size > len(blob):
            raise InvalidEvidence("a package's header is cut")
        self._blob = blob
        self._end = self._start + size
        self._tags = {
            tag: (kind, offset, items)
            for tag, kind, offset, items in struct.iter_unpack(">IIII", blob[8 : self._start])
        }

    def text(self, tag: int) -> str:
        """Empty when it is not there."""
        kind, offset, _ = self._tags.get(tag, (0, 0, 0))
        return self._string(self._start + offset)[0] if kind in (_STRING, _STRING_ARRAY, _I18N) else ""

    def texts(self, tag: int) -> list[str]:
        kind, offset, items = self._tags.get(tag, (0, 0, 0))
        if kind != _STRING_ARRAY:
            return []
        at, found = self._start + offset, []
        for _ in range(items):
            value, at = self._string(at)
            found.append(value)
        return found

    def numbers(self, tag: int) -> list[int]:
        kind, offset, items = self._tags.get(tag, (0, 0, 0))
        if kind != _INT32:
            return []
        at = self._start + offset
        if at + 4 * items > self._end:
            raise InvalidEvidence("a package's header is cut")
        return list(struct.unpack_from(f">{items}i", self._blob, at))

    def _string(self, at: int) -> tuple[str, int]:
        end = self._blob.find(b"\0", at, self._end)
        if end < 0 or at < self._start:
            raise InvalidEvidence("a package's header is cut")
        return self._blob[at:end].decode("utf-8", "replace"), end + 1


def _package(header: Header) -> Package | None:
    name, version = header.text(_NAME), header.text(_VERSION)
    if not name or not version or name == "gpg-pubkey":
        return None
    release, epoch = header.text(_RELEASE), header.numbers(_EPOCH)
    whole = f"{version}-{release}" if release else version
    licence = header.text(_LICENCE)
    source = header.text(_SOURCE_RPM).removesuffix(".rpm").rpartition(".")[0]
    source_name = source.rsplit("-", 2)[0] if source.count("-") >= 2 else ""
    return Package(
        Ecosystem.RPM,
        name,
        f"{epoch[0]}:{whole}" if epoch and epoch[0] else whole,
        architecture=header.text(_ARCHITECTURE),
        source_name=source_name if source_name != name else "",
        licences=(licence,) if licence else (),
    )


def _owned(header: Header) -> Iterator[str]:
    folders = header.texts(_DIR_NAMES)
    for base, index in zip(header.texts(_BASE_NAMES), header.numbers(_DIR_INDEXES), strict=False):
        if 0 <= index < len(folders):
            path = (folders[index] + base).lstrip("/")
            if is_ownable(path):
                yield path
