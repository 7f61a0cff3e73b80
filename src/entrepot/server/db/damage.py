"""A note beside the database file that says it is damaged: nobody writes to it then, and pulls go on.

A file of its own, since a damaged database is not written to, and since all processes look at it. It speaks
of one database file, so that it does not outlive a restore that puts another in its place.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Final

__all__ = ["DamageNote"]

SUFFIX: Final = ".damaged"


class DamageNote:
    """The note of the database at `path`."""

    def __init__(self, path: Path) -> None:
        self._database = path
        self._note = path.with_name(path.name + SUFFIX)
        self._name = str(self._note)

    @property
    def reason(self) -> str | None:
        """What is wrong; None when nothing is known to be. Costs one system call while nothing is."""
        if not os.path.lexists(self._name):
            return None
        try:
            said = json.loads(self._note.read_text())
            inode, reason = int(said["inode"]), str(said["reason"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return "damage was noted, but the note can't be read"
        return reason if inode == self._database.stat().st_ino else None

    def write(self, reason: str) -> None:
        """Nobody writes from now on. Raises OSError."""
        said = json.dumps({"inode": self._database.stat().st_ino, "reason": reason})
        partial = self._note.with_name(f".{self._note.name}.{os.getpid()}")
        partial.write_text(said)
        partial.replace(self._note)

    def remove(self) -> None:
        """The database was found to be sound."""
        with contextlib.suppress(FileNotFoundError):
            self._note.unlink()
