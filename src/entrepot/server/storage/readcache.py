"""Blobs of an object store, kept on the node's own disk while there is room, for reads through the node.

A physical name is never used twice and never changes its bytes, so a copy is never out of date; whether the
blob may be read at all was asked of the catalog before. Several processes share the folder: a copy is filled
under another name, published by rename, and goes when it was not read for longest. What the cache can't do
(no room, a failing disk) costs speed and nothing else. Scrub and fsck don't look at it.

No copy is synced, so a power cut may leave one whole in size and empty inside: only copies that were made
since the machine started are believed; those from before go first when room is needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, Final

from entrepot.observability.logs import get_log
from entrepot.server.storage import keys
from entrepot.server.storage.boot import boot_id
from entrepot.server.storage.errors import StoredBytesDiffer
from entrepot.server.storage.store import BlobStore
from entrepot.server.storage.threads import disk_pool, run

__all__ = ["ReadCache"]

log = get_log(__name__)

LARGEST_SHARE: Final = 0.25
"""Of the cache that one blob may take."""
PIECE_BYTES: Final = 256 * 1024
FORGOTTEN_S: Final = 3600.0
"""A copy that is being filled for so long was left by a process that died."""
_PARTIAL: Final = ".filling-"


class ReadCache:
    """At most `limit` bytes of blobs in `folder`, which is made when it is missing."""

    def __init__(
        self, store: BlobStore, folder: Path, limit: int, *, count: Callable[[str], object] = lambda _: None
    ) -> None:
        """`count` is told `hit` or `miss` at each read."""
        self._store = store
        self._folder = folder
        self._limit = limit
        self._boot = boot_id()
        self._disk = disk_pool()
        self._filling: set[str] = set()
        self._count = count
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def open(self, phys: str, size: int, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """As BlobStore.open, of a blob that has `size` bytes."""
        end = size if end is None else min(end, size)
        name = f"{self._boot}.{keys.checked_blob(phys).replace('/', '-')}"
        held = await run(self._disk, self._held, name, size)
        if held is not None:
            self._count("hit")
            return self._read(held, phys, start, end)
        self._count("miss")
        stream = await self._store.open(phys, start, end)
        whole = size and not start and end == size
        if not whole or size > self._limit * LARGEST_SHARE or name in self._filling:
            return stream
        return self._filled(stream, name, size)

    async def close(self) -> None:
        self._disk.shutdown(wait=False)

    def _held(self, name: str, size: int) -> BinaryIO | None:
        """The copy, open, so that it can be read to its end even when it is removed meanwhile."""
        path = self._folder / name
        try:
            file = path.open("rb", buffering=0)
        except OSError:
            return None
        if os.fstat(file.fileno()).st_size != size:
            file.close()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # it goes last now
        return file

    async def _read(self, file: BinaryIO, phys: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        try:
            while start < end:
                count = min(PIECE_BYTES, end - start)
                data = await run(self._disk, os.pread, file.fileno(), count, start)
                if not data:
                    raise StoredBytesDiffer(f"the copy of {phys} ends at byte {start} of {end}")
                start += len(data)
                yield data
        finally:
            file.close()

    async def _filled(
        self, stream: AsyncGenerator[bytes, None], name: str, size: int
    ) -> AsyncGenerator[bytes, None]:
        """`stream`, and a copy of it once it is whole: before the last piece goes out, since whoever has all
        of a blob may ask for a part of it at once.
        """
        self._filling.add(name)
        partial = self._folder / f"{_PARTIAL}{secrets.token_hex(8)}"
        try:
            async with aclosing(stream):
                file = await run(self._disk, self._begin, partial, size)
                written = 0
                async for piece in stream:
                    if file is not None and not await run(self._disk, _keep, file, piece):
                        file = None
                    written += len(piece)
                    if file is not None and written == size:
                        file.close()
                        with contextlib.suppress(OSError):
                            await run(self._disk, os.replace, partial, self._folder / name)
                    yield piece
        finally:
            self._filling.discard(name)
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def _begin(self, partial: Path, size: int) -> BinaryIO | None:
        """A file that takes `size` bytes of the cache from now on; None when there is no room."""
        try:
            with self._alone():
                if not self._make_room(size):
                    return None
                file = partial.open("xb", buffering=0)
                partial.chmod(0o600)
                os.truncate(partial, size)  # other processes count it
            return file
        except OSError as error:
            log.warning("read cache can't be written", folder=str(self._folder), reason=str(error))
            return None

    def _make_room(self, size: int) -> bool:
        entries = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                stat = entry.stat()
                entries.append((stat.st_mtime, stat.st_size, entry.path, entry.name.startswith(_PARTIAL)))
        used, forgotten = sum(entry[1] for entry in entries), time.time() - FORGOTTEN_S
        for changed_at, held, path, partial in sorted(entries):
            if used + size <= self._limit:
                return True
            if not partial or changed_at < forgotten:
                with contextlib.suppress(FileNotFoundError):
                    Path(path).unlink()
                used -= held
        return used + size <= self._limit

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time counts and removes."""
        with (self._folder.parent / f".{self._folder.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _keep(file: BinaryIO, piece: bytes) -> bool:
    """Whether `piece` could be written."""
    try:
        return file.write(piece) == len(piece)
    except OSError:
        file.close()
        return False
