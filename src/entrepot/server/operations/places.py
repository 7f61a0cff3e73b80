"""Where a backup is kept: a folder, a bucket, or one tar file.

Names are relative paths. What is written appears whole or not at all; nothing is ever overwritten with other
content, so a copy of the place that was made in between is a backup as well.
"""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import tarfile
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from entrepot.errors import InvalidInput
from entrepot.server.operations.errors import BackupMissing, PlaceFailed

__all__ = ["BackupPlace", "BucketPlace", "FolderPlace", "TarPlace", "open_place"]

_PIECE_BYTES: Final = 1 << 20


class BackupPlace(Protocol):
    """Every failure is a PlaceFailed or a BackupMissing."""

    async def size(self, name: str) -> int | None:
        """Bytes kept under a name; None when there is nothing."""
        ...

    async def put(self, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        """Keep exactly `size` bytes, durable."""
        ...

    def get(self, name: str) -> AsyncIterator[bytes]:
        """The bytes kept under a name. Raises BackupMissing."""
        ...

    async def names(self, folder: str) -> list[str]:
        """Names below `folder`, sorted."""
        ...

    async def close(self, *, complete: bool = True) -> None:
        """Finish. What is not `complete` is left so that it can't be taken for a backup."""
        ...


class FolderPlace:
    """A folder, on a disk or a network share."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _failed(f"making {root}", error) from error

    async def size(self, name: str) -> int | None:
        def ask() -> int | None:
            try:
                return (self._root / name).stat().st_size
            except FileNotFoundError:
                return None
            except OSError as error:
                raise _failed(f"reading {name}", error) from error

        return await asyncio.to_thread(ask)

    async def put(self, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        target = self._root / name
        partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
        try:
            await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
            file = await asyncio.to_thread(_open_new, partial)
            try:
                written = 0
                async for piece in pieces:
                    written += await asyncio.to_thread(file.write, piece)
                _check_size(name, written, size)
                await asyncio.to_thread(_publish, file, partial, target)
            except BaseException:
                file.close()
                partial.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _failed(f"writing {name}", error) from error

    async def get(self, name: str) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread((self._root / name).open, "rb")
        except FileNotFoundError:
            raise BackupMissing(f"the backup has no {name}") from None
        with file:
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                yield piece

    async def names(self, folder: str) -> list[str]:
        def walk() -> list[str]:
            root = self._root / folder
            found = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
            return sorted(str(path.relative_to(self._root)) for path in found)

        return await asyncio.to_thread(walk)

    async def close(self, *, complete: bool = True) -> None:  # noqa: ARG002 - the next run goes on
        return None


class TarPlace:
    """One tar file: written from the start, or read. It can't grow later, so it is always a whole backup."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._members: dict[str, tuple[int, int]] = {}
        self._file: BinaryIO | None = None
        self._lock = asyncio.Lock()
        if path.exists():
            self._index()
            return
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_new(self._partial)
        except OSError as error:
            raise _failed(f"writing {path}", error) from error

    def _index(self) -> None:
        """Where each member's bytes are; nothing is ever unpacked by name."""
        try:
            with tarfile.open(self._path, mode="r:") as tar:
                for member in tar:
                    if member.isreg():
                        self._members[member.name] = (member.offset_data, member.size)
        except (tarfile.TarError, OSError) as error:
            raise _failed(f"reading {self._path}", error) from error

    async def size(self, name: str) -> int | None:
        found = self._members.get(name)
        return None if found is None else found[1]

    async def put(self, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        async with self._lock:
            file = self._file
            if file is None:
                raise InvalidInput(
                    f"{self._path} is finished", hint="name a new file, or back up into a folder or bucket"
                )
            start = file.tell()
            try:
                await self._append(file, name, pieces, size)
            except BaseException as error:
                file.seek(start)
                file.truncate()
                if isinstance(error, OSError):
                    raise _failed(f"writing {self._path}", error) from error
                raise

    async def _append(self, file: BinaryIO, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        file.write(entry.tobuf(tarfile.PAX_FORMAT))
        offset, written = file.tell(), 0
        async for piece in pieces:
            written += await asyncio.to_thread(file.write, piece)
        _check_size(name, written, size)
        file.write(bytes(-size % tarfile.BLOCKSIZE))
        self._members[name] = (offset, size)

    async def get(self, name: str) -> AsyncIterator[bytes]:
        found = self._members.get(name)
        if found is None:
            raise BackupMissing(f"the backup has no {name}")
        offset, left = found
        path = self._path if self._file is None else self._partial
        with await asyncio.to_thread(path.open, "rb") as file:
            file.seek(offset)
            while left:
                piece = await asyncio.to_thread(file.read, min(_PIECE_BYTES, left))
                if not piece:
                    raise BackupMissing(f"{self._path} ends in the middle of {name}")
                left -= len(piece)
                yield piece

    async def names(self, folder: str) -> list[str]:
        return sorted(name for name in self._members if name.startswith(f"{folder}/"))

    async def close(self, *, complete: bool = True) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        if complete:
            file.write(bytes(2 * tarfile.BLOCKSIZE))
            await asyncio.to_thread(_publish, file, self._partial, self._path)
        else:
            file.close()
            await asyncio.to_thread(self._partial.unlink, missing_ok=True)


class BucketPlace:
    """A prefix in an object store."""

    def __init__(self, bucket: Any) -> None:
        """`bucket` is obstore's, bound to the prefix."""
        self._bucket = bucket

    async def size(self, name: str) -> int | None:
        import obstore

        try:
            return int((await obstore.head_async(self._bucket, name))["size"])
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _failed(f"reading {name}", error) from error

    async def put(self, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        import obstore

        failure: list[BaseException] = []

        async def counted() -> AsyncIterator[bytes]:
            written = 0
            try:
                async for piece in pieces:
                    written += len(piece)
                    yield piece
                _check_size(name, written, size)
            except BaseException as error:  # the store's client would wrap it
                failure.append(error)
                raise

        try:
            if size <= 8 * _PIECE_BYTES:
                whole = io.BytesIO()
                async for piece in counted():
                    whole.write(piece)
                await obstore.put_async(self._bucket, name, whole.getvalue(), use_multipart=False)
            else:
                part = max(8 * _PIECE_BYTES, -(-size // 9_000))
                await obstore.put_async(
                    self._bucket, name, counted(), use_multipart=True, chunk_size=part, max_concurrency=2
                )
        except Exception as error:
            raise (failure[0] if failure else _failed(f"writing {name}", error)) from error

    async def get(self, name: str) -> AsyncIterator[bytes]:
        import obstore

        try:
            answer = await obstore.get_async(self._bucket, name)
        except FileNotFoundError:
            raise BackupMissing(f"the backup has no {name}") from None
        except Exception as error:
            raise _failed(f"reading {name}", error) from error
        async for piece in answer.stream(min_chunk_size=_PIECE_BYTES):
            yield bytes(piece)

    async def names(self, folder: str) -> list[str]:
        import obstore

        found = []
        try:
            async for batch in obstore.list(self._bucket, folder):
                found += [entry["path"] for entry in batch]
        except Exception as error:
            raise _failed(f"listing {folder}", error) from error
        return sorted(found)

    async def close(self, *, complete: bool = True) -> None:  # noqa: ARG002 - the next run goes on
        return None


def open_place(
    where: str,
    *,
    endpoint: str = "",
    region: str = "",
    access_key_id: str = "",
    secret_access_key: str = "",
    allow_http: bool = False,
) -> BackupPlace:
    """`s3://bucket/prefix` (or gs, az), a file that ends in `.tar`, or a folder."""
    if "://" not in where:
        return TarPlace(Path(where)) if where.endswith(".tar") else FolderPlace(Path(where))
    from obstore.store import from_url

    options: dict[str, Any] = {"client_options": {"allow_http": allow_http, "timeout": "1h"}}
    if where.startswith("s3://"):
        given = {
            "endpoint": endpoint,
            "region": region,
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
        }
        options |= {name: value for name, value in given.items() if value}
    return BucketPlace(from_url(where, **options))


def _open_new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b")


def _publish(file: BinaryIO, partial: Path, target: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    partial.replace(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_size(name: str, written: int, size: int) -> None:
    if written != size:
        raise PlaceFailed(f"{name} came with {written} bytes instead of {size}")


def _failed(doing: str, error: Exception) -> PlaceFailed:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return PlaceFailed(f"{doing} failed: {str(reason).strip().splitlines()[0]}")
