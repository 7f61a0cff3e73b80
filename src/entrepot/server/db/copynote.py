"""A note beside the database file that says how far its continuous copy is.

Who copies writes it; metrics, the page, `doctor` and the trash read it, whichever process they are in.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

__all__ = ["CopyNote", "CopyState"]

SUFFIX: Final = ".copied"


@dataclass(frozen=True, slots=True)
class CopyState:
    """What is known of the copy."""

    place: str
    """The `catalog.copy` that this is about."""
    until: float
    """Everything that was acknowledged before is in the copy; seconds since 1970. 0: nothing is yet."""
    problem: str = ""
    """Why it is not further."""

    @property
    def lag_s(self) -> float:
        """How much would be lost if this disk were gone now, in seconds."""
        return max(0.0, time.time() - self.until)


class CopyNote:
    """The note of the database at `path`."""

    def __init__(self, path: Path) -> None:
        self._note = path.with_name(path.name + SUFFIX)

    def read(self, place: str) -> CopyState:
        """Of a copy that nobody has told of yet, one that has nothing."""
        try:
            said = json.loads(self._note.read_text())
            state = CopyState(str(said["place"]), float(said["until"]), str(said["problem"]))
        except (OSError, ValueError, KeyError, TypeError):
            return CopyState(place, 0.0)
        return state if state.place == place else CopyState(place, 0.0)

    def write(self, state: CopyState) -> None:
        """Raises OSError."""
        partial = self._note.with_name(f".{self._note.name}.{os.getpid()}")
        partial.write_text(json.dumps(asdict(state)))
        partial.replace(self._note)

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._note.unlink()
