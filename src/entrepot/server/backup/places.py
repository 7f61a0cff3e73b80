"""Where a backup is kept: a folder, a bucket, or one tar file.

Names are relative paths. What is written appears whole or not at all; nothing is ever overwritten with other
content, so a copy of the place that was made in between is a backup as well.
"""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import secrets
import sqlite3
import tarfile
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.backup.errors import BackupMissing, PlaceFailed

__all__ = ["BackupPlace", "BucketPlace", "FolderPlace", "TarPlace", "open_place"]

_PIECE_BYTES: Final = 1 << 20
_PAGE: Final = 1000
_SCHEMES: Final = {"s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl"}
_FORGOTTEN_S: Final = 24 * 3600.0
"""A partial file that has not grown for so long is nobody's."""


class BackupPlace(Protocol):
    """Every failure is a PlaceFailed or a BackupMissing."""

    async def put(self, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        """Keep exactly `size` bytes, durable."""
        ...

    def get(self, name: str) -> AsyncIterator[bytes]:
        """The bytes kept under a name. Raises BackupMissing."""
        ...

    def listed(self, folder: str) -> AsyncIterator[tuple[str, int]]:
        """Names below `folder` and their sizes in bytes, in no order."""
        ...

    async def close(self, *, complete: bool = True) -> None:
        """Finish. What is not `complete` is left so that it can't be taken for a backup."""
        ...


class FolderPlace:
    """A folder, on a disk or a network share."""

    def __init__(self, root: Path, *, create: bool) -> None:
        self._root = root
        self._writes = create
        if not create:
            return
        try:
            _make_folders(root)
        except OSError as error:
            raise _failed(f"making {root}", error) from error

    async def put(self, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        target = self._root / name
        partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
        try:
            await asyncio.to_thread(_make_folders, target.parent)
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
            raise _failed(f"writing {target}", error) from error

    async def get(self, name: str) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread((self._root / name).open, "rb")
            with file:
                while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                    yield piece
        except FileNotFoundError:
            raise BackupMissing(f"the backup has no {name}") from None
        except OSError as error:
            raise _failed(f"reading {self._root / name}", error) from error

    async def listed(self, folder: str) -> AsyncIterator[tuple[str, int]]:
        found = self._walk(self._root / folder)
        try:
            while page := await asyncio.to_thread(_next_page, found):
                for one in page:
                    yield one
        except OSError as error:
            raise _failed(f"listing {self._root / folder}", error) from error

    async def close(self, *, complete: bool = True) -> None:  # noqa: ARG002 - the next run goes on
        return None

    def _walk(self, folder: Path) -> Iterator[tuple[str, int]]:
        forgotten = time.time() - _FORGOTTEN_S
        for path in _files_below(folder):
            found = path.stat()
            if not path.name.startswith("."):
                yield path.relative_to(self._root).as_posix(), found.st_size
            elif self._writes and found.st_mtime < forgotten:
                path.unlink(missing_ok=True)  # a run that was killed had begun it


class TarPlace:
    """One tar file: written from the start, or read. It can't grow later, so it is always a whole backup.

    Until it is complete it is `.<name>.partial` beside it, which the next run begins anew.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._members = _TarMembers()
        self._file: BinaryIO | None = None
        self._lock = asyncio.Lock()
        if path.exists():
            if create:
                raise InvalidInput(
                    f"{path} is finished", hint="name a new file, or back up into a folder or bucket"
                )
            self._index()
        elif create:
            self._begin()

    def _begin(self) -> None:
        try:
            _make_folders(self._path.parent)
            self._file = _open_alone(self._partial)
        except BlockingIOError:
            raise PlaceFailed(f"another run is writing {self._path}", hint="wait until it is done") from None
        except OSError as error:
            raise _failed(f"writing {self._path}", error) from error

    def _index(self) -> None:
        """Where each member's bytes are; nothing is ever unpacked by name."""
        try:
            with tarfile.open(self._path, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    if member.isreg():
                        self._members.add(member.name, member.offset_data, member.size)
                    tar.members = []  # type: ignore[attr-defined]  # it would keep all of them
        except (tarfile.TarError, OSError) as error:
            raise _failed(f"reading {self._path}", error) from error

    async def put(self, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        async with self._lock:
            file = self._file
            assert file is not None, "opened for reading"
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
        entry.size, entry.mode, entry.mtime = size, 0o600, int(time.time())
        file.write(entry.tobuf(tarfile.PAX_FORMAT))
        offset, written = file.tell(), 0
        async for piece in pieces:
            written += await asyncio.to_thread(file.write, piece)
        _check_size(name, written, size)
        file.write(bytes(-size % tarfile.BLOCKSIZE))
        self._members.add(name, offset, size)

    async def get(self, name: str) -> AsyncIterator[bytes]:
        found = self._members.find(name)
        if found is None:
            raise BackupMissing(f"the backup has no {name}")
        offset, left = found
        path = self._path
        if self._file is not None:
            self._file.flush()
            path = self._partial
        try:
            with await asyncio.to_thread(path.open, "rb") as file:
                file.seek(offset)
                while left:
                    piece = await asyncio.to_thread(file.read, min(_PIECE_BYTES, left))
                    if not piece:
                        raise BackupMissing(f"{self._path} ends in the middle of {name}")
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise _failed(f"reading {self._path}", error) from error

    async def listed(self, folder: str) -> AsyncIterator[tuple[str, int]]:
        for name, size in self._members.below(folder):
            yield name, size

    async def close(self, *, complete: bool = True) -> None:
        self._members.close()
        file, self._file = self._file, None
        if file is None:
            return
        if complete:
            file.write(bytes(2 * tarfile.BLOCKSIZE))
            await asyncio.to_thread(_publish, file, self._partial, self._path)
        else:
            await asyncio.to_thread(self._partial.unlink, missing_ok=True)
            file.close()


class _TarMembers:
    """Name → offset and size, in a temporary file: there may be millions."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute("CREATE TABLE member (name TEXT PRIMARY KEY, at INTEGER, size INTEGER)")

    def add(self, name: str, at: int, size: int) -> None:
        self._file.execute("INSERT OR REPLACE INTO member VALUES (?, ?, ?)", (name, at, size))

    def find(self, name: str) -> tuple[int, int] | None:
        found = self._file.execute("SELECT at, size FROM member WHERE name = ?", (name,)).fetchone()
        return None if found is None else (int(found[0]), int(found[1]))

    def below(self, folder: str) -> Iterator[tuple[str, int]]:
        first, end = f"{folder}/", f"{folder}0"  # "0" comes right after "/"
        yield from self._file.execute(
            "SELECT name, size FROM member WHERE name >= ? AND name < ?", (first, end)
        )

    def close(self) -> None:
        self._file.close()


class BucketPlace:
    """A prefix in an object store."""

    def __init__(self, bucket: Any) -> None:
        """`bucket` is obstore's, bound to the prefix."""
        self._bucket = bucket

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
        pieces = answer.stream(min_chunk_size=_PIECE_BYTES)
        while piece := await _next_piece(pieces, name):
            yield piece

    async def listed(self, folder: str) -> AsyncIterator[tuple[str, int]]:
        import obstore

        batches = obstore.list(self._bucket, folder, chunk_size=_PAGE)
        while batch := await _next_batch(batches, folder):
            for entry in batch:
                yield str(entry["path"]), int(entry["size"])

    async def close(self, *, complete: bool = True) -> None:  # noqa: ARG002 - the next run goes on
        return None


def open_place(
    where: str,
    *,
    create: bool,
    endpoint: str = "",
    region: str = "",
    access_key_id: str = "",
    secret_access_key: str = "",
    allow_http: bool = False,
) -> BackupPlace:
    """`s3://bucket/prefix` (or gs, az), a file that ends in `.tar`, or a folder.

    Without `create` nothing is written, not even an empty folder.

    Raises InvalidInput.
    """
    if "://" not in where:
        path = Path(where)
        return TarPlace(path, create=create) if where.endswith(".tar") else FolderPlace(path, create=create)
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
    hint = "write a folder, a file that ends in .tar, or s3://bucket/prefix"
    if where.partition("://")[0] not in _SCHEMES:
        raise InvalidInput(f"{where} is no place for backups", hint=hint)
    try:
        return BucketPlace(from_url(where, **options))
    except Exception as error:
        raise InvalidInput(f"{where} is no place for backups: {_reason(error)}", hint=hint) from error


async def _next_piece(pieces: Any, name: str) -> bytes:
    """Empty at the end."""
    try:
        return bytes(await anext(pieces))
    except StopAsyncIteration:
        return b""
    except Exception as error:
        raise _failed(f"reading {name}", error) from error


async def _next_batch(batches: Any, folder: str) -> list[Any]:
    """Empty at the end."""
    try:
        return list(await anext(batches))
    except StopAsyncIteration:
        return []
    except Exception as error:
        raise _failed(f"listing {folder}", error) from error


def _next_page(found: Iterator[tuple[str, int]]) -> list[tuple[str, int]]:
    return [one for one, _ in zip(found, range(_PAGE), strict=False)]


def _files_below(folder: Path) -> Iterator[Path]:
    for at, _, names in os.walk(folder, onerror=_unless_missing):
        for name in names:
            yield Path(at, name)


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _make_folders(folder: Path) -> None:
    """Make it and what is above it, durable, for their owner only."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    _sync_folder(folder.parent)


def _open_new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b")


def _open_alone(path: Path) -> BinaryIO:
    """Empty, and ours alone. Raises BlockingIOError while another process has it."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    file.truncate(0)
    return file


def _publish(file: BinaryIO, partial: Path, target: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    partial.replace(target)
    file.close()
    _sync_folder(target.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_size(name: str, written: int, size: int) -> None:
    if written != size:
        raise PlaceFailed(f"{name} came with {written} bytes instead of {size}")


def _failed(doing: str, error: Exception) -> EntrepotError:
    if isinstance(error, EntrepotError):
        return error
    return PlaceFailed(f"{doing} failed: {_reason(error)}")


def _reason(error: Exception) -> str:
    """One line, without what a library tells its developers."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).strip().splitlines()[0]
