"""Calls of the tree in a thread, failures told in words."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, TypeVar

from entrepot.server.storage.driver import StoredObject
from entrepot.server.storage.errors import BlobMissing, reading_failed, translated
from entrepot.server.storage.filesystem.tree import FolderTree, OpenFile
from entrepot.server.storage.threads import run

__all__ = ["DiskCalls"]

_T = TypeVar("_T")

LIST_BATCH: Final = 512
"""Directory entries handed over at a time."""


class DiskCalls:
    """One tree, and the threads that may wait for its disk."""

    def __init__(self, tree: FolderTree, disk: Executor) -> None:
        self.tree = tree
        self.disk = disk

    async def run(self, doing: str, call: Callable[..., _T], *args: object) -> _T:
        """The result of `call`. Raises StorageFailed, which says what was being done."""
        try:
            return await run(self.disk, call, *args)
        except OSError as error:
            raise translated(error, doing) from error

    async def open(self, path: Path, name: str) -> OpenFile:
        """A file to read. Raises BlobMissing, BlobUnreadable, StorageFailed."""
        try:
            return await run(self.disk, self.tree.open_read, path)
        except (FileNotFoundError, NotADirectoryError):
            raise BlobMissing(name) from None
        except OSError as error:
            raise reading_failed(error, name) from error

    async def walk(self, doing: str, folder: str) -> AsyncGenerator[StoredObject, None]:
        """Every file below a folder."""
        found = self.tree.walk(folder)
        while batch := await self.run(doing, _take, found):
            for stored in batch:
                yield stored


def _take(found: Iterator[StoredObject]) -> list[StoredObject]:
    return list(itertools.islice(found, LIST_BATCH))
