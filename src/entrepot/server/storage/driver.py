"""What a place for bytes has to do, so that `store.BlobStore` can keep a registry's blobs there.

A new kind of place implements `SegmentDriver`: seven calls about whole objects that have names. Uploads,
which arrive in pieces, are made of such objects by `segments.SegmentedUploads`. A place that can write into
what it holds (a file system) implements `Driver` and its own `Uploads` instead, which saves joining the
pieces. What only some places can do besides is a small protocol each; nobody who lacks it has to say so.

Every failure is a StorageFailed (worth a retry) or BlobMissing. Names are made and checked above, by `keys`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from entrepot.oci.digest import Digest

__all__ = [
    "ChecksItself",
    "Chunk",
    "Driver",
    "HasFiles",
    "KeepsReserve",
    "Prepares",
    "SegmentDriver",
    "SignsUrls",
    "StoreUploads",
    "StoredObject",
    "TakesFiles",
]

Chunk = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One physical file or object."""

    phys: str
    size: int
    """Bytes."""
    mtime: float
    """When it was written, seconds since 1970 by the store's clock."""


class Driver(Protocol):
    """Objects with names, each whole or not there."""

    async def put(self, name: str, data: bytes) -> None:
        """Make an object, durable when this returns. One of that name is replaced at once."""
        ...

    async def read(self, name: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Bytes `start` up to but not including `end`, None: to the end. Raises BlobMissing here, before the
        first byte.

        The stream delivers exactly that many bytes or raises. A bad sector is a BlobUnreadable, here and in
        `size`.
        """
        ...

    async def size(self, name: str) -> int | None:
        """Bytes of an object, None when it is missing."""
        ...

    async def delete(self, names: Sequence[str]) -> None:
        """Remove objects. A missing one is a success."""
        ...

    def list(self, folder: str) -> AsyncGenerator[StoredObject, None]:
        """Every object whose name begins with `folder` and a slash, in no order; others are passed over."""
        ...

    async def close(self) -> None:
        """Give back threads and connections."""
        ...


class SegmentDriver(Driver, Protocol):
    """What a new kind of place implements."""

    async def put_stream(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        """`put` of bytes that arrive one after the other, of any number; in bounded memory."""
        ...


class StoreUploads(Protocol):
    """Bytes on their way to become blobs; see BlobStore, whose methods of the same names say what they do."""

    def new_upload(self) -> str: ...

    def new_blob(self, digest: Digest) -> str:
        """A new physical name for a blob that comes whole."""
        ...

    async def append(
        self,
        upload: str,
        offset: int,
        chunks: AsyncIterable[Chunk],
        *,
        on_chunk: Callable[[Chunk], object],
    ) -> int: ...

    async def upload_size(self, upload: str) -> int: ...

    async def arriving(self, upload: str) -> int: ...

    async def read_upload(self, upload: str, start: int, end: int) -> AsyncGenerator[bytes, None]: ...

    async def commit(self, upload: str, digest: Digest, size: int) -> str: ...

    async def abort(self, upload: str) -> None: ...

    def list_uploads(self) -> AsyncGenerator[StoredObject, None]: ...

    async def close(self) -> None: ...


@runtime_checkable
class HasFiles(Protocol):
    """Objects are files of this machine, which the server can send itself."""

    def file_path(self, name: str) -> Path:
        """The file that holds an object."""
        ...


@runtime_checkable
class SignsUrls(Protocol):
    """Clients may fetch objects from the place itself."""

    def signed_url(self, name: str, expires_s: int) -> str | None:
        """A URL from which anyone may read the object for so many seconds."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """Something can be made ready before the first write, or tidied up. A driver's or its uploads'."""

    async def prepare(self) -> None:
        """Once at start."""
        ...


@runtime_checkable
class ChecksItself(Protocol):
    """Whether it can be written is told without leaving anything behind."""

    async def check(self) -> None:
        """Raise StorageFailed with the reason when blobs can't be written now."""
        ...


@runtime_checkable
class KeepsReserve(Protocol):
    """Other programs may fill the same disk."""

    async def keep_reserve_file(self) -> str | None:
        """Take a little room while there is plenty, and give it back when there is none.

        Returns `given back` or `taken` when something was done.
        """
        ...


@runtime_checkable
class TakesFiles(Protocol):
    """Files of this machine become objects by the quickest way the disk has."""

    async def take_file(self, source: Path, digest: Digest, size: int, *, may_link: bool) -> tuple[str, str]:
        """See `BlobStore.take_file`."""
        ...
