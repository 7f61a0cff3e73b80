"""Advisories on disk, by ecosystem and package: a look-up reads what it needs and holds nothing in memory.

A database is derived: it is made whole, beside its place, and renamed over it; a damaged one is made again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from entrepot.inventory.advisories.advisory import Advisory, AffectedPackage, InvalidAdvisories, Severity

FORMAT = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE advisory (id INTEGER PRIMARY KEY, said BLOB NOT NULL);
CREATE TABLE affected (
  ecosystem TEXT NOT NULL, name TEXT NOT NULL, advisory INTEGER NOT NULL, said BLOB NOT NULL
);
CREATE TABLE ecosystem (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE kev (cve TEXT PRIMARY KEY, added TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE epss (cve TEXT PRIMARY KEY, score REAL NOT NULL) WITHOUT ROWID;
"""


class _Head(msgspec.Struct, array_like=True):
    """An advisory without its packages."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    severity: int
    score: float | None


_encode = msgspec.msgpack.Encoder().encode
_head = msgspec.msgpack.Decoder(_Head)
_package = msgspec.msgpack.Decoder(AffectedPackage)


class AdvisoryWriter:
    """Fills a new database. `finish` puts it in place; leaving without it removes what was written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.getpid()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._part.unlink(missing_ok=True)
        self._connection = sqlite3.connect(self._part, isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;" + _SCHEMA
        )
        self._ecosystems: set[str] = set()
        self.count = 0
        """Advisories added."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._part.unlink(missing_ok=True)

    def add(self, advisory: Advisory) -> None:
        self.count += 1
        head = _Head(advisory.id, advisory.aliases, advisory.summary, int(advisory.severity), advisory.score)
        self._connection.execute("INSERT INTO advisory VALUES (?, ?)", (self.count, _encode(head)))
        for package in advisory.packages:
            self._ecosystems.add(package.ecosystem)
            row = (package.ecosystem, package.name, self.count, _encode(package))
            self._connection.execute("INSERT INTO affected VALUES (?, ?, ?, ?)", row)

    def add_kev(self, entries: Iterable[tuple[str, str]]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO kev VALUES (?, ?)", entries)

    def add_epss(self, scores: Iterable[tuple[str, float]]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO epss VALUES (?, ?)", scores)

    def finish(self, stamp: str) -> None:
        """`stamp` says what it was made from."""
        self._connection.executemany(
            "INSERT INTO ecosystem VALUES (?)", [(name,) for name in self._ecosystems]
        )
        self._connection.executemany(
            "INSERT INTO meta VALUES (?, ?)", [("format", str(FORMAT)), ("stamp", stamp)]
        )
        self._connection.execute("CREATE INDEX affected_by_package ON affected (ecosystem, name)")
        self._connection.execute("COMMIT")
        self._connection.close()
        self._part.replace(self._path)


class AdvisoryDatabase:
    """A finished one, read only. A context manager."""

    def __init__(self, path: Path) -> None:
        """Raises InvalidAdvisories when the file is none of this format."""
        try:
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            said = dict(self._connection.execute("SELECT key, value FROM meta").fetchall())
        except sqlite3.Error as error:
            raise InvalidAdvisories(f"{path} is no database of advisories: {error}") from error
        if said.get("format") != str(FORMAT):
            self._connection.close()
            raise InvalidAdvisories(f"{path} is a database of advisories in another format; make it again")
        self.stamp = said.get("stamp", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def about(self, ecosystem: str, name: str) -> Iterator[tuple[Advisory, AffectedPackage]]:
        """Advisories that name the package, each with what it says of it."""
        rows = self._connection.execute(
            "SELECT affected.said, advisory.said "
            "FROM affected JOIN advisory ON advisory.id = affected.advisory "
            "WHERE affected.ecosystem = ? AND affected.name = ?",
            (ecosystem, name),
        )
        for said, head in rows:
            package, found = _package.decode(said), _head.decode(head)
            yield (
                Advisory(
                    found.id, (package,), found.aliases, found.summary, Severity(found.severity), found.score
                ),
                package,
            )

    def covers(self, ecosystem: str) -> bool:
        """Whether there is any advisory for it: without one, silence says nothing."""
        found = self._connection.execute("SELECT 1 FROM ecosystem WHERE name = ?", (ecosystem,)).fetchone()
        return found is not None

    def exploited_since(self, cves: Iterable[str]) -> str:
        """When the first of them was listed as exploited; empty when none is."""
        return str(self._first("SELECT added FROM kev WHERE cve = ?", cves) or "")

    def likelihood(self, cves: Iterable[str]) -> float | None:
        """The highest EPSS score of them."""
        found = [
            score for cve in cves if (score := self._first("SELECT score FROM epss WHERE cve = ?", [cve]))
        ]
        return max(map(float, found), default=None)

    def _first(self, query: str, cves: Iterable[str]) -> str | float | None:
        for cve in cves:
            row = self._connection.execute(query, (cve,)).fetchone()
            if row is not None:
                found: str | float = row[0]
                return found
        return None


def is_database(path: Path) -> bool:
    """Whether the file is SQLite's."""
    with closing(path.open("rb")) as stream:
        return stream.read(16) == b"SQLite format 3\0"
