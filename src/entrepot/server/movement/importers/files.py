"""Folders of files, on a disk or in a bucket, as the storage of another registry is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from entrepot.errors import InvalidInput, NotFound
from entrepot.server.movement.importers.origin import AbsentAtOrigin, OriginUnreadable

__all__ = ["BucketFiles", "FolderFiles", "StoredFiles", "open_files"]

_PIECE_BYTES: Final = 1 << 20
_SCHEMES: Final = ("s3", "gs", "az")


class StoredFiles(Protocol):
    """Names are relative, with slashes. What fails to be read is an OriginUnreadable."""

    async def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder, sorted; none when it is missing."""
        ...

    async def read(self, name: str, most: int) -> bytes:
        """A small file. Raises AbsentAtOrigin, and OriginUnreadable when it has more than `most` bytes."""
        ...

    async def size(self, name: str) -> int | None:
        """Bytes, None when it is missing."""
        ...

    async def stream(self, name: str) -> AsyncGenerator[bytes, None]:
        """All of a file. Raises AbsentAtOrigin here."""
        ...

    def path(self, name: str) -> Path | None:
        """The file of this machine, if it is one."""
        ...


class FolderFiles:
    """See StoredFiles."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def folders(self, folder: str) -> list[str]:
        return await asyncio.to_thread(self._folders, self._root / folder)

    async def read(self, name: str, most: int) -> bytes:
        return await asyncio.to_thread(self._read, self._root / name, most)

    async def size(self, name: str) -> int | None:
        return await asyncio.to_thread(self._size, self._root / name)

    async def stream(self, name: str) -> AsyncGenerator[bytes, None]:
        return _pieces(await asyncio.to_thread(_opened, self._root / name), self._root / name)

    def path(self, name: str) -> Path | None:
        return self._root / name

    def _folders(self, path: Path) -> list[str]:
        try:
            return sorted(entry.name for entry in path.iterdir() if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unreadable(path, error) from error

    def _read(self, path: Path, most: int) -> bytes:
        with closing(_opened(path)) as file:
            try:
                data = file.read(most + 1)
            except OSError as error:
                raise _unreadable(path, error) from error
        if len(data) > most:
            raise OriginUnreadable(f"{path} has more than {most} bytes")
        return data

    def _size(self, path: Path) -> int | None:
        try:
            return path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path, error) from error


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise AbsentAtOrigin(f"{path} is not there") from None
    except OSError as error:
        raise _unreadable(path, error) from error


async def _pieces(file: BinaryIO, path: Path) -> AsyncGenerator[bytes, None]:
    with file:
        try:
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                yield piece
        except OSError as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> OriginUnreadable:
    return OriginUnreadable(f"{path} can't be read: {error.strerror or error}")


class BucketFiles:
    """See StoredFiles. `bucket` is obstore's, bound to the root."""

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket

    async def folders(self, folder: str) -> list[str]:
        import obstore

        try:
            found = await obstore.list_with_delimiter_async(self._bucket, folder or None)
        except Exception as error:
            raise _refused(folder, error) from error
        return sorted(str(prefix).rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])

    async def read(self, name: str, most: int) -> bytes:
        size = await self.size(name)
        if size is None:
            raise AbsentAtOrigin(f"{name} is not there")
        if size > most:
            raise OriginUnreadable(f"{name} has more than {most} bytes")
        return b"".join([piece async for piece in await self.stream(name)])

    async def size(self, name: str) -> int | None:
        import obstore

        try:
            return int((await obstore.head_async(self._bucket, name))["size"])
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _refused(name, error) from error

    async def stream(self, name: str) -> AsyncGenerator[bytes, None]:
        import obstore

        try:
            answer = await obstore.get_async(self._bucket, name)
        except FileNotFoundError:
            raise AbsentAtOrigin(f"{name} is not there") from None
        except Exception as error:
            raise _refused(name, error) from error
        return self._pieces(answer, name)

    async def _pieces(self, answer: Any, name: str) -> AsyncGenerator[bytes, None]:
        stream = aiter(answer.stream(min_chunk_size=_PIECE_BYTES))
        while True:
            try:
                piece = bytes(await anext(stream))
            except StopAsyncIteration:
                return
            except Exception as error:
                raise _refused(name, error) from error
            yield piece

    def path(self, name: str) -> Path | None:  # noqa: ARG002 - objects are not files
        return None


def open_files(
    where: str,
    *,
    endpoint: str = "",
    region: str = "",
    access_key_id: str = "",
    secret_access_key: str = "",
    allow_http: bool = False,
) -> StoredFiles:
    """A folder, or `s3://bucket/prefix` (gs, az), reached as `[storage]` says.

    Raises NotFound, InvalidInput.
    """
    if "://" not in where:
        if not Path(where).is_dir():
            raise NotFound(f"there is no folder {where}")
        return FolderFiles(Path(where))
    from obstore.store import from_url

    hint = "write a folder or s3://bucket/prefix"
    if where.partition("://")[0] not in _SCHEMES:
        raise InvalidInput(f"{where} is no folder and no bucket", hint=hint)
    options: dict[str, Any] = {"client_options": {"allow_http": allow_http, "timeout": "1h"}}
    if where.startswith("s3://"):
        given = {
            "endpoint": endpoint,
            "region": region,
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
        }
        options |= {name: value for name, value in given.items() if value}
    try:
        return BucketFiles(from_url(where, **options))
    except Exception as error:
        raise InvalidInput(f"{where} can't be opened: {_first_line(error)}", hint=hint) from error


def _refused(name: str, error: Exception) -> OriginUnreadable:
    return OriginUnreadable(f"{name or 'the bucket'} can't be read: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
