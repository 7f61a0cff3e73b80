"""What a place for blob bytes is: the one seam between the registry and its disk or object store.

A store keeps bytes under physical names that it makes itself and never uses twice. Which of them is the
live copy of a digest is the catalog's knowledge, never the store's: a store is not listed to decide
whether a blob exists.

The life of a blob::

    new_upload ─► append … append ─► commit ─► open/size … ─► delete
                       └─► abort                 ▲
    put (small, whole) ──────────────────────────┘

What `commit` and `put` return is durable: it survives `kill -9` and a power cut. What `append` returns
survives the end of this process; after a power cut an upload may be shorter than the catalog thinks
(`UploadShort`) but never wrong: `commit` reads everything again when the machine has restarted since the
upload began.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from entrepot.oci.digest import Digest

Chunk = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One physical file or object."""

    phys: str
    size: int
    """Bytes."""
    mtime: float
    """When it was written, seconds since 1970 by the store's clock."""


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """Which catalog a store belongs to. The catalog carries the same two values."""

    store_id: str
    """Random, made once with the catalog."""
    epoch: int
    """Raised by each restore, so that a catalog older than its store is noticed."""


class BlobStore(Protocol):
    """Every failure is a StorageFailed (worth a retry), BlobMissing or UploadShort."""

    async def new_upload(self) -> str:
        """The name of an empty upload. Does no I/O: an upload without bytes leaves nothing behind."""
        ...

    async def append(
        self,
        upload: str,
        offset: int,
        chunks: AsyncIterable[Chunk],
        *,
        on_chunk: Callable[[Chunk], object],
    ) -> int:
        """Store `chunks` from byte `offset` on; returns how many bytes were stored.

        `on_chunk` gets the stored bytes in order, from a worker thread, never two at once, and is done
        when this returns or raises. When `chunks` raises (a client went away) what had arrived is kept,
        `on_chunk` has seen exactly that, and the exception goes on. After a StorageFailed the truth is
        `upload_size`: forget the running hash and read the upload again. One writer an upload is the
        caller's duty. Raises UploadShort when fewer than `offset` bytes are held.
        """
        ...

    async def upload_size(self, upload: str) -> int:
        """Bytes held; 0 when nothing was stored or the upload is unknown."""
        ...

    async def arriving(self, upload: str) -> int:
        """How far an upload has got by a request that comes to this machine, in bytes of the upload; a store
        that learns of a request only at its end says 0 when there is none. Only to be shown: these bytes may
        yet be lost."""
        ...

    async def read_upload(self, upload: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Bytes `start` up to but not including `end`, to hash them again. Raises UploadShort."""
        ...

    async def commit(self, upload: str, digest: Digest, size: int) -> str:
        """Make the first `size` bytes a blob and return its physical name, durable. The upload is gone
        afterwards.

        The caller has hashed the bytes. Raises UploadShort, StorageFailed, or StoredBytesDiffer when the
        bytes had to be read again and are not what was promised; after a failure the upload is gone too.
        """
        ...

    async def put(self, digest: Digest, data: bytes) -> str:
        """Store a small blob at once, durable; returns its physical name."""
        ...

    async def open(self, phys: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes `start` up to but not including `end`. Raises BlobMissing here, before the first byte.

        The stream delivers exactly that many bytes or raises: a blob cut short never looks complete. Here and
        in `size` a bad sector is a BlobUnreadable.
        Close it with `aclose()` when it is not read to its end.
        """
        ...

    def file_path(self, phys: str) -> Path | None:
        """The file that holds the blob, for a server that can send files itself; None when there is no
        file.
        """
        ...

    async def signed_url(self, phys: str, *, expires_s: int) -> str | None:
        """A URL from which anyone may read the blob for `expires_s` seconds; None when the store has
        none.
        """
        ...

    async def size(self, phys: str) -> int | None:
        """Bytes stored under a physical name, None when it is missing."""
        ...

    async def delete(self, phys: str) -> None:
        """Remove a blob's bytes. A missing one is a success."""
        ...

    async def abort(self, upload: str) -> None:
        """Remove an upload's bytes. A missing one is a success.

        Only for who has removed the upload's row: on an object store a finished upload's bytes are the
        blob.
        """
        ...

    def list(self) -> AsyncGenerator[StoredObject, None]:
        """Every blob object, in no order. On an object store segments of running uploads are among them."""
        ...

    def list_uploads(self) -> AsyncGenerator[StoredObject, None]:
        """Upload files of running or forgotten uploads. An object store has none: see `list`."""
        ...

    async def read_identity(self) -> StoreIdentity | None:
        """Whose store this is; None when it is new."""
        ...

    async def write_identity(self, store_id: str, epoch: int) -> None:
        """Mark the store, durable."""
        ...

    async def prepare(self) -> None:
        """Make ready what the first write would otherwise have to. Optional, once at start."""
        ...

    async def check(self) -> None:
        """Raise StorageFailed with the reason when blobs can't be written now."""
        ...

    async def close(self) -> None:
        """Give back threads and connections."""
        ...
