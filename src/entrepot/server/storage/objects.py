"""Objects of an object store (S3 and what speaks it, GCS, Azure), through obstore.

Multipart uploads that a killed process leaves behind are removed by the bucket's lifecycle rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url

from entrepot.backoff import backoff_s
from entrepot.errors import InvalidInput
from entrepot.server.storage.arrivals import ArrivalCounts
from entrepot.server.storage.driver import StoredObject
from entrepot.server.storage.errors import RETRY_AFTER_S, BlobMissing, StorageFailed, StoredBytesDiffer
from entrepot.server.storage.segments import SegmentedUploads
from entrepot.server.storage.store import BlobStore

if TYPE_CHECKING:
    from obstore import GetResult  # exists for type checkers only

__all__ = ["Bucket", "open_bucket", "part_size"]

PART_BYTES: Final = 8 * 1024 * 1024
"""Of a multipart upload, unless the largest blob would have more than MAX_PARTS of them."""
LEAST_PART_BYTES: Final = 5 * 1024 * 1024
"""S3 takes no smaller ones, except the last."""
MAX_PARTS: Final = 10_000
"""Of one object, as S3 and GCS have it."""
MAX_CONCURRENCY: Final = 2
"""Parts of one upload on their way at once; it bounds the memory of an upload."""
READ_BYTES: Final = 256 * 1024
READ_ATTEMPTS: Final = 5
"""How often in a row a download may break off without having got any further."""
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 1.0
DELETED_TOGETHER: Final = 1000
"""Objects that one request removes; S3 takes no more."""
NOT_FOUND: Final = (FileNotFoundError,)


class Bucket:
    """See SegmentDriver, SignsUrls.

    `bucket` is already bound to the prefix; `sign` makes a URL for a name in it. An object of up to
    `MAX_PARTS * part_bytes` bytes can be stored; `part_size` chooses.
    """

    def __init__(
        self,
        bucket: ObjectStore,
        *,
        sign: Callable[[str, timedelta], str] | None = None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._bucket = bucket
        self._sign = sign
        self._part_bytes = part_bytes

    async def put(self, name: str, data: bytes) -> None:
        await self._do("storing a blob", obstore.put_async(self._bucket, name, data, use_multipart=False))

    async def put_stream(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        first = bytearray()
        async for piece in pieces:
            first += piece
            if len(first) >= self._part_bytes:
                break
        else:
            await self.put(name, bytes(first))
            return
        await self._do(
            "storing an upload",
            obstore.put_async(
                self._bucket,
                name,
                _joined(bytes(first), pieces),
                use_multipart=True,
                chunk_size=self._part_bytes,
                max_concurrency=MAX_CONCURRENCY,
            ),
        )

    async def read(self, name: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        if end is None and start == 0:
            answer = await self._get(name)
            return self._read(name, 0, int(answer.meta["size"]), answer)
        if end is not None and start < end:
            answer = await self._get(name, range=(start, end))
            return self._read(name, start, min(end, int(answer.meta["size"])), answer)
        stored = await self.size(name)
        if stored is None:
            raise BlobMissing(name)
        return self._read(name, start, stored if end is None else end)

    async def size(self, name: str) -> int | None:
        try:
            found = await self._do("reading a blob", obstore.head_async(self._bucket, name), may_lack=True)
        except BlobMissing:
            return None
        return int(found["size"])

    async def delete(self, names: Sequence[str]) -> None:
        for start in range(0, len(names), DELETED_TOGETHER):
            await self._delete(names[start : start + DELETED_TOGETHER])

    async def list(self, folder: str) -> AsyncGenerator[StoredObject, None]:
        try:
            async for batch in obstore.list(self._bucket, folder):
                for found in batch:
                    yield StoredObject(found["path"], found["size"], found["last_modified"].timestamp())
        except (BaseError, OSError) as error:
            raise _failed(error, f"listing {folder}") from error

    def signed_url(self, name: str, expires_s: int) -> str | None:
        return None if self._sign is None else self._sign(name, timedelta(seconds=expires_s))

    async def close(self) -> None:
        return None

    async def _delete(self, names: Sequence[str]) -> None:
        some: Any = names[0] if len(names) == 1 else [*names]
        try:
            await self._do("removing a blob", obstore.delete_async(self._bucket, some), may_lack=True)
        except BlobMissing:  # somebody else was here; of several the store has not said which are left
            if len(names) > 1:
                for name in names:
                    await self._delete([name])

    async def _get(self, name: str, **options: Any) -> GetResult:
        try:
            return await obstore.get_async(self._bucket, name, options=options)  # type: ignore[arg-type]
        except NOT_FOUND as error:
            raise _absent(error, name) from None
        except (BaseError, OSError) as error:
            raise _failed(error, f"reading {name}") from error

    async def _read(
        self, key: str, start: int, end: int, answer: GetResult | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes exactly, continued where a broken answer left off as long as it gets any further."""
        failures = 0
        while start < end:
            got = 0
            try:
                if answer is None:
                    answer = await obstore.get_async(self._bucket, key, options={"range": (start, end)})
                stream, answer = answer.stream(min_chunk_size=READ_BYTES), None
                async for piece in stream:
                    data = bytes(piece)[: end - start]
                    start += len(data)
                    got += len(data)
                    yield data
            except NOT_FOUND as error:
                raise _absent(error, key) from None
            except (BaseError, OSError) as error:
                failures = 1 if got else failures + 1
                if failures >= READ_ATTEMPTS:
                    raise _failed(error, f"reading {key}") from error
                await asyncio.sleep(backoff_s(failures, first_s=FIRST_BACKOFF_S, longest_s=LONGEST_BACKOFF_S))
                continue
            if not got:
                raise StoredBytesDiffer(
                    f"{key} ends at byte {start} of {end}",
                    hint="find out what else is damaged with: entrepot admin fsck",
                )

    async def _do(self, doing: str, call: Any, *, may_lack: bool = False) -> Any:
        """Raises BlobMissing where `may_lack`; elsewhere a 404 says that the bucket is not there."""
        try:
            return await call
        except NOT_FOUND as error:
            if may_lack and not _lacks_bucket(error):
                raise BlobMissing(doing) from None
            raise _bucket_missing(doing) from error
        except (BaseError, OSError) as error:
            raise _failed(error, doing) from error


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in rest:
        yield piece


def open_bucket(
    url: str,
    *,
    endpoint: str = "",
    region: str = "",
    access_key_id: str = "",
    secret_access_key: str = "",
    allow_http: bool = False,
    virtual_hosted: bool = False,
    part_bytes: int = PART_BYTES,
    sign: Callable[[str, timedelta], str] | None = None,
    arriving: Path | None = None,
) -> BlobStore:
    """The store at `url` (`s3://bucket/prefix`, `gs://…`, `az://…`); empty values come from the
    environment. `sign` makes URLs for clients, unless the store itself does. `arriving` is a folder that all
    processes of this machine share, for how far requests have come.

    Raises InvalidInput.
    """
    options: dict[str, Any] = {
        "client_options": {"allow_http": allow_http, "timeout": "1h", "read_timeout": "30s"},
        "retry_config": {"max_retries": 6, "retry_timeout": timedelta(minutes=3)},
    }
    if url.startswith("s3://"):
        options |= {
            "endpoint": endpoint or None,
            "region": region or None,
            "access_key_id": access_key_id or None,
            "secret_access_key": secret_access_key or None,
            "virtual_hosted_style_request": virtual_hosted,
        }
    bucket = from_url(url, **{name: value for name, value in options.items() if value is not None})

    if not isinstance(bucket, (S3Store, GCSStore, AzureStore)):
        raise InvalidInput(f"{url} is not an object store", hint="use s3://, gs:// or az://")
    driver = Bucket(bucket, sign=sign or partial(obstore.sign, bucket, "GET"), part_bytes=part_bytes)
    arrivals = None if arriving is None else ArrivalCounts(arriving)
    return BlobStore(driver, SegmentedUploads(driver, arrivals=arrivals))


def part_size(largest_blob: int, wanted: int = PART_BYTES) -> int:
    """Bytes of a part, so that a blob of `largest_blob` bytes fits into one object. Pure."""
    return max(LEAST_PART_BYTES, wanted, -(-largest_blob // MAX_PARTS))


def _lacks_bucket(error: Exception) -> bool:
    return "NoSuchBucket" in str(error)


def _bucket_missing(doing: str) -> StorageFailed:
    return StorageFailed(
        f"{doing} failed: the bucket is not there (404)",
        hint="create it, or correct storage.url and storage.endpoint",
        retry_after_s=RETRY_AFTER_S,
    )


def _absent(error: Exception, key: str) -> StorageFailed | BlobMissing:
    """What a 404 for one object means."""
    return _bucket_missing(f"reading {key}") if _lacks_bucket(error) else BlobMissing(key)


def _failed(error: Exception, doing: str) -> StorageFailed:
    said = str(error).strip()
    if _lacks_bucket(error) or "404 Not Found" in said:  # no object is asked for here
        return _bucket_missing(doing)
    return StorageFailed(f"{doing} failed: {said.splitlines()[0]}", retry_after_s=RETRY_AFTER_S)
