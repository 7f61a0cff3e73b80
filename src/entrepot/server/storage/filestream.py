"""Bytes of an open file: from memory at once, from the disk in a thread and one piece ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from types import TracebackType

from entrepot.server.storage.errors import StoredBytesDiffer, translated
from entrepot.server.storage.files import OpenFile
from entrepot.server.storage.fsops import FileOps
from entrepot.server.storage.threads import settled

READ_BYTES = 256 * 1024
"""Read at a time. A download holds two of them at most."""


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

    async def __anext__(self) -> bytes:
        file = self._file
        if file is None or self._offset >= self._end:
            await self.aclose()
            raise StopAsyncIteration
        try:
            data = await self._next(file)
        except OSError as error:
            await self.aclose()
            raise translated(error, f"reading {self._name}") from error
        if not data:
            await self.aclose()
            raise StoredBytesDiffer(
                f"{self._name} ends at byte {self._offset} of {self._end}",
                hint="find out what else is damaged with: entrepot admin fsck",
            )
        self._offset += len(data)
        return data

    async def _next(self, file: OpenFile) -> bytes:
        if self._ahead is None:
            buffer = bytearray(min(READ_BYTES, self._end - self._offset))
            cached = self._ops.read_cached(file.fd, buffer, self._offset)
            if cached:
                return bytes(memoryview(buffer)[:cached])
            self._read_ahead(file, self._offset)
        ahead, self._ahead = self._ahead, None
        assert ahead is not None
        data = await settled(ahead)
        if data:
            self._read_ahead(file, self._offset + len(data))
        return data

    def _read_ahead(self, file: OpenFile, offset: int) -> None:
        size = min(READ_BYTES, self._end - offset)
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
