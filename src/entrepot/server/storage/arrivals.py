"""How far the requests have come that put a layer into an object store, for those who watch.

The store tells of an object only once it is whole. Meanwhile the process that receives it keeps a file as
long as what has arrived, in a folder that all processes of the machine share. Nothing is decided by it: a
folder that can't be written costs the picture alone, and a number that a killed process leaves goes at the
first start that comes an hour later.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

__all__ = ["ArrivalCounts"]

FORGOTTEN_S: Final = 3600.0


class ArrivalCounts:
    """Numbers by upload in `folder`, which is made when it is missing. Blocking, for microseconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def counted(self, upload: str, start: int) -> Iterator[Callable[[int], None]]:
        """A function that takes how many bytes more have arrived of a request that begins at byte `start`."""
        path, arrived = self._path(upload), start
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            yield lambda _: None
            return

        def count(more: int) -> None:
            nonlocal arrived
            arrived += more
            with contextlib.suppress(OSError):
                os.ftruncate(fd, arrived)  # a hole: it takes no room

        try:
            yield count
        finally:
            os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()

    def of(self, upload: str) -> int:
        """Bytes that have arrived of a request under way on this machine; 0 when there is none."""
        try:
            return self._path(upload).stat().st_size
        except OSError:
            return 0

    def forget_old(self) -> None:
        """Remove what killed processes left an hour ago or earlier: for each start."""
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if path.stat().st_mtime < time.time() - FORGOTTEN_S:
                    path.unlink()

    def _path(self, upload: str) -> Path:
        return self._folder / upload.replace("/", "-")
