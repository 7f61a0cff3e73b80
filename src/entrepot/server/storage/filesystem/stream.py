"""Bytes of an open file: from memory at once, from the disk in a thread and one piece ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from types import TracebackType
from typing import Final

from entrepot.server.storage.errors import StoredBytesDiffer, reading_failed
from entrepot.server.storage.filesystem.ops import FileOps
from entrepot.server.storage.filesystem.tree import OpenFile
from entrepot.server.storage.threads import settled

SMALLEST_BYTES: Final = 64 * 1024
"""Read at a time to begin with. The HTTP server queues some pieces of every download, so they must be small
as long as it is not known that the reader is quick."""
LARGEST_BYTES: Final = 1024 * 1024
"""Read at a time for quick readers, since each piece costs a little."""
WINDOW_BYTES: Final = 2 * 1024 * 1024
"""Over which a reader's speed is measured."""
STEADY_BYTES: Final = 8 * 1024 * 1024
"""Until so much was delivered, socket buffers make every reader look quick."""
QUICK_BYTES_PER_S: Final = 192 * 1024 * 1024
"""A quicker reader gets larger pieces."""
SLOW_BYTES_PER_S: Final = 96 * 1024 * 1024
"""A slower one gets smaller pieces."""


class FileStream(AsyncGenerator[bytes, None]):
    """Delivers the bytes from `start` up to `end` exactly, or raises."""

    def __init__(self, ops: FileOps, disk: Executor, file: OpenFile, name: str, start: int, end: int) -> None:
        self._ops = ops
        self._disk = disk
        self._file: OpenFile | None = file
        self._name = name
        self._offset = start
        self._end = end
        self._ahead: asyncio.Future[bytes] | None = None
        self._piece = SMALLEST_BYTES
        self._steady = start + STEADY_BYTES
        self._window_at = start
        self._window_began: float | None = None

    async def __anext__(self) -> bytes:
        self._adapt()
        file = self._file
        if file is None or self._offset >= self._end:
            await self.aclose()
            raise StopAsyncIteration
        try:
            data = await self._next(file)
        except OSError as error:
            await self.aclose()
            raise reading_failed(error, self._name) from error
        if not data:
            await self.aclose()
            raise StoredBytesDiffer(
                f"{self._name} ends at byte {self._offset} of {self._end}",
                hint="find out what else is damaged with: entrepot admin fsck",
            )
        self._offset += len(data)
        return data

    def _adapt(self) -> None:
        """Choose the size of the next pieces by how quickly the last ones were taken."""
        passed = self._offset - self._window_at
        if self._window_began is not None and passed < WINDOW_BYTES:
            return
        now, began = asyncio.get_running_loop().time(), self._window_began
        self._window_at, self._window_began = self._offset, now
        if began is None or self._offset < self._steady:
            return
        if passed > (now - began) * QUICK_BYTES_PER_S:
            self._piece = min(LARGEST_BYTES, self._piece * 2)
        elif passed < (now - began) * SLOW_BYTES_PER_S:
            self._piece = max(SMALLEST_BYTES, self._piece // 2)

    async def _next(self, file: OpenFile) -> bytes:
        if self._ahead is None:
            size = min(self._piece, self._end - self._offset)
            if self._ops.is_cached(file.fd, self._offset, size):
                return self._ops.read(file.fd, size, self._offset)
            self._read_ahead(file, self._offset)
        ahead, self._ahead = self._ahead, None
        assert ahead is not None
        data = await settled(ahead)
        if data:
            self._read_ahead(file, self._offset + len(data))
        return data

    def _read_ahead(self, file: OpenFile, offset: int) -> None:
        size = min(self._piece, self._end - offset)
        if size > 0:
            loop = asyncio.get_running_loop()
            self._ahead = loop.run_in_executor(self._disk, self._read, file, size, offset)

    def _read(self, file: OpenFile, size: int, offset: int) -> bytes:
        return self._ops.read(file.fd, size, offset)

    async def asend(self, value: None, /) -> bytes:
        del value
        return await self.__anext__()

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> bytes:
        del val, tb
        await self.aclose()
        raise typ

    async def aclose(self) -> None:
        """Let go of the file; a read under way closes it when it has finished."""
        if self._ahead is not None:
            self._ahead.add_done_callback(_look_at)
            self._ahead = None
        self._file = None


def _look_at(future: asyncio.Future[bytes]) -> None:
    if not future.cancelled():
        future.exception()
