"""What was copied so far: old physical name → new one, in a file, so that neither memory nor an interruption
limits how many there can be.

The notes belong to one copy (`owner`); those of another one are forgotten. A lost note costs a copy, never
more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

__all__ = ["CopiedNames"]

_TABLES = """
CREATE TABLE IF NOT EXISTS owner (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS copied (
  old TEXT PRIMARY KEY, new TEXT NOT NULL, seen INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


class CopiedNames:
    """Not safe for use by two threads at once; by one after the other it is."""

    def __init__(self, path: Path, *, owner: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")
        self._file.executescript(_TABLES)
        if self._file.execute("SELECT name FROM owner").fetchone() != (owner,):
            self._file.executescript("DELETE FROM owner; DELETE FROM copied")
            self._file.execute("INSERT INTO owner VALUES (?)", (owner,))
        self._file.execute("UPDATE copied SET seen = 0")

    def get(self, old: str) -> str | None:
        """The new name; None when it has not been copied."""
        found = self._file.execute("SELECT new FROM copied WHERE old = ?", (old,)).fetchone()
        return None if found is None else str(found[0])

    def is_of_earlier_run(self, old: str) -> bool:
        """Whether the note is older than this object, so that the copy may be gone."""
        found = self._file.execute("SELECT 1 FROM copied WHERE old = ? AND seen = 0", (old,)).fetchone()
        return found is not None

    def add(self, old: str, new: str) -> None:
        """Note a copy, or that one of an earlier run is still there."""
        self._file.execute("INSERT OR REPLACE INTO copied (old, new, seen) VALUES (?, ?, 1)", (old, new))

    def forget(self, old: str) -> None:
        self._file.execute("DELETE FROM copied WHERE old = ?", (old,))

    def begin(self) -> None:
        """Nothing is used yet; ends what an earlier `begin` began."""
        if self._file.in_transaction:
            self._file.execute("ROLLBACK")
        self._file.execute("BEGIN")
        self._file.execute("UPDATE copied SET used = 0 WHERE used")

    def use(self, old: str) -> str | None:
        """The new name, which a row has from now on."""
        new = self.get(old)
        if new is not None:
            self._file.execute("UPDATE copied SET used = 1 WHERE old = ?", (old,))
        return new

    def unused(self) -> Iterator[str]:
        """New names that no row has, since `begin`."""
        if self._file.in_transaction:
            self._file.execute("COMMIT")
        for (new,) in self._file.execute("SELECT new FROM copied WHERE NOT used"):
            yield str(new)

    def remove(self) -> None:
        """The copy is finished: the notes go."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
