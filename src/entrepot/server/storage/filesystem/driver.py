"""Objects as files: each call that may wait for the disk runs in a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from entrepot.oci.digest import Digest
from entrepot.server.storage import keys
from entrepot.server.storage.driver import StoredObject
from entrepot.server.storage.errors import reading_failed, translated
from entrepot.server.storage.filesystem.calls import DiskCalls
from entrepot.server.storage.filesystem.stream import FileStream
from entrepot.server.storage.filesystem.tree import Unsynced
from entrepot.server.storage.threads import run

__all__ = ["FileDriver"]

TOO_LONG_S: Final = 0.05
"""Writing a small blob to the page cache on the event loop takes a few microseconds. When it takes longer
than this, memory is full of unwritten pages, and a thread does it for a while."""
AWAY: Final = 20
"""For so many times as long: requests wait for at most a twentieth of their time."""


class FileDriver:
    """See Driver, HasFiles, Prepares, ChecksItself, KeepsReserve, TakesFiles."""

    def __init__(self, calls: DiskCalls) -> None:
        self._calls = calls
        self._tree = calls.tree
        self._in_thread_until = 0.0

    async def put(self, name: str, data: bytes) -> None:
        target = self._tree.path(name)
        if not name.startswith(keys.BLOBS):
            await self._calls.run(f"storing {name}", self._tree.replace, target, data)
            return
        # A blob's name is a new one, so nobody sees it half written and it needs no rename.
        began = time.monotonic()
        if began < self._in_thread_until or not self._tree.is_ready_for(target):
            await self._calls.run("storing a blob", self._tree.put, target, data)
            return
        try:
            written = self._tree.begin_put(target, data)
        except OSError as error:
            raise translated(error, "storing a blob") from error
        took = time.monotonic() - began
        if took > TOO_LONG_S:
            self._in_thread_until = began + AWAY * took
        if self._tree.is_slow():
            await self._end_put_at_once(written)
        else:
            await self._calls.run("storing a blob", self._tree.end_put, written)

    async def _end_put_at_once(self, written: Unsynced) -> None:
        """`Tree.end_put` with both syncs at the same time: one more thread, half the wait."""
        halves = (self._tree.sync_bytes, self._tree.sync_name)
        ends = [self._calls.run("storing a blob", half, written) for half in halves]
        failed = [end for end in await asyncio.gather(*ends, return_exceptions=True) if end is not None]
        if failed:
            await self._calls.run("removing a blob", self._tree.forget, written.path)
            raise failed[0]

    async def read(self, name: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        file = await self._calls.open(self._tree.path(name), name)
        return FileStream(
            self._tree.ops, self._calls.disk, file, name, start, file.size if end is None else end
        )

    async def size(self, name: str) -> int | None:
        try:
            return await run(self._calls.disk, self._tree.size, self._tree.path(name))
        except OSError as error:
            raise reading_failed(error, name) from error

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            await self._calls.run("removing a blob", self._tree.remove, self._tree.path(name))

    async def take_file(self, source: Path, digest: Digest, size: int, *, may_link: bool) -> tuple[str, str]:
        phys = keys.file_blob_key(digest)
        how = await self._calls.run(
            "storing a blob", self._tree.take, source, self._tree.path(phys), digest, size, may_link
        )
        return phys, how

    def list(self, folder: str) -> AsyncGenerator[StoredObject, None]:
        return self._calls.walk("listing blobs", folder)

    def file_path(self, name: str) -> Path:
        return self._tree.path(name)

    async def prepare(self) -> None:
        await self._calls.run("making the store's directories", self._tree.prepare)

    async def check(self) -> None:
        await self._calls.run("writing to the store", self._tree.probe)

    async def keep_reserve_file(self) -> str | None:
        return await self._calls.run("keeping a reserve of space", self._tree.keep_reserve_file)

    async def close(self) -> None:
        self._calls.disk.shutdown(wait=False)
