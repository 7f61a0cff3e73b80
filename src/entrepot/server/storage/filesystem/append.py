"""One request's bytes on their way into an upload file.

One batch arrives, one is written, one is hashed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress

from entrepot.server.storage.driver import Chunk
from entrepot.server.storage.errors import translated
from entrepot.server.storage.filesystem.tree import FolderTree, OpenFile
from entrepot.server.storage.threads import run, settled, wait_for_end

BATCH_BYTES = 512 * 1024
"""Written and hashed at a time. An upload holds three of them at most."""
WRITEBACK_BYTES = 8 * 1024 * 1024
"""After this many bytes the disk is asked to begin, so that the end of a large upload needn't wait for it
all.
"""


class FileAppend:
    """Bytes are hashed only once they are written, so the running hash never knows more than the file."""

    def __init__(
        self,
        tree: FolderTree,
        disk: Executor,
        hashing: Executor,
        *,
        upload: str,
        offset: int,
        on_chunk: Callable[[Chunk], object],
    ) -> None:
        self._tree = tree
        self._disk = disk
        self._hash_pool = hashing
        self._upload = upload
        self._start = offset
        self._on_chunk = on_chunk
        self._file: OpenFile | None = None
        self._batch: list[Chunk] = []
        self._batch_bytes = 0
        self._writing: asyncio.Future[list[Chunk]] | None = None
        self._hashing: asyncio.Future[None] | None = None
        self._written_back = offset
        self.stored = 0
        """Bytes written so far."""

    async def add(self, chunk: Chunk) -> None:
        """Take one chunk; waits when the disk or the hash can't keep up."""
        self._batch.append(chunk)
        self._batch_bytes += len(chunk)
        if self._batch_bytes >= BATCH_BYTES:
            await self._pass_on()

    async def finish(self) -> None:
        """Write and hash what is left. A request that fits one batch takes one trip to a thread."""
        if self._file is None:
            await self._in_thread(self._all_at_once)
            return
        if self._batch:
            await self._pass_on()
        await self._turn()
        if self._hashing is not None:
            await settled(self._hashing)

    async def give_back(self) -> None:
        """After a failed write: free the room this request took."""
        await self._quiet()
        with suppress(OSError):
            await run(self._disk, self._tree.give_back, self._upload, self._file, self._start)

    async def close(self) -> None:
        """Wait for the threads, then let go of the file."""
        await self._quiet()
        self._file = None

    async def _pass_on(self) -> None:
        """Start writing the batch, once the one before it is written."""
        await self._turn()
        if self._file is None:
            await self._in_thread(self._open)
        batch, size = self._batch, self._batch_bytes
        self._batch, self._batch_bytes = [], 0
        self._writing = asyncio.get_running_loop().run_in_executor(self._disk, self._write, batch, size)

    async def _turn(self) -> None:
        """Wait for the write under way and start hashing what it wrote, even when cancelled meanwhile."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        cancelled = await wait_for_end(writing)
        try:
            batch = writing.result()
        except OSError as error:
            raise translated(error, "storing an upload") from error
        if self._hashing is not None:
            cancelled |= await wait_for_end(self._hashing)
            self._hashing.result()
        self._hashing = asyncio.get_running_loop().run_in_executor(self._hash_pool, self._hash, batch)
        if cancelled:
            raise asyncio.CancelledError

    async def _quiet(self) -> None:
        if self._writing is not None:
            await wait_for_end(self._writing)
            self._writing.exception()
            self._writing = None
        if self._hashing is not None:
            await wait_for_end(self._hashing)
            self._hashing.exception()

    async def _in_thread(self, call: Callable[[], None]) -> None:
        try:
            await run(self._disk, call)
        except OSError as error:
            raise translated(error, "storing an upload") from error

    # In threads

    def _open(self) -> None:
        self._file = self._tree.open_upload(self._upload, self._start)

    def _write(self, batch: list[Chunk], size: int) -> list[Chunk]:
        assert self._file is not None
        offset = self._start + self.stored
        self._tree.write(self._file, batch, offset)
        self.stored += size
        fresh = offset + size - self._written_back
        if fresh >= WRITEBACK_BYTES:
            self._tree.ops.start_writeback(self._file.fd, self._written_back, fresh)
            self._written_back += fresh
        return batch

    def _hash(self, batch: list[Chunk]) -> None:
        for chunk in batch:
            self._on_chunk(chunk)

    def _all_at_once(self) -> None:
        batch, size = self._batch, self._batch_bytes
        self._batch, self._batch_bytes = [], 0
        if not size and not self._start:
            return
        self._open()
        if size:
            self._hash(self._write(batch, size))
