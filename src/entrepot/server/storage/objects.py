"""Blobs in an object store (S3 and what speaks it, GCS, Azure), through obstore.

An upload is a list of *segments*, each a completed object that one request has put, named by the byte it
starts at. So an upload survives its node and goes on from another one. When the upload is finished, a
single segment (docker's way, and a whole PUT) is the blob as it is, without a copy; several are streamed
into one object and verified on the way. A segment that a later request has put again stays unread: the
chain that is committed is the one this process wrote, or else the one whose bytes have the digest.

Multipart uploads that a killed process leaves behind are removed by the bucket's lifecycle rule.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store, from_url
from obstore.store import ObjectStore as Bucket

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest, Hasher
from entrepot.server.storage import keys
from entrepot.server.storage.arriving import ArrivingBytes
from entrepot.server.storage.base import Chunk, StoredObject, StoreIdentity
from entrepot.server.storage.errors import (
    RETRY_AFTER_S,
    BlobMissing,
    InvalidKey,
    StorageFailed,
    StoredBytesDiffer,
    UploadShort,
)
from entrepot.server.storage.files import parse_identity
from entrepot.server.storage.threads import hash_pool, wait_for_end

if TYPE_CHECKING:
    from obstore import GetResult  # exists for type checkers only

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
HASH_BYTES: Final = 512 * 1024
REMEMBERED_UPLOADS: Final = 4096
DELETED_TOGETHER: Final = 1000
"""Objects that one request removes; S3 takes no more."""
NOT_FOUND: Final = (FileNotFoundError,)


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes one request has put."""

    key: str
    start: int
    size: int

    @property
    def end(self) -> int:
        """The byte after its last one."""
        return self.start + self.size


class ObjectStore:
    """See BlobStore.

    `bucket` is already bound to the prefix; `sign` makes a URL for a name in it. A blob of up to
    `MAX_PARTS * part_bytes` bytes can be stored; `part_size` chooses.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        sign: Callable[[str, timedelta], str] | None = None,
        part_bytes: int = PART_BYTES,
        arriving: ArrivingBytes | None = None,
    ) -> None:
        self._bucket = bucket
        self._arriving = arriving
        self._sign = sign
        self._part_bytes = part_bytes
        self._hashing = hash_pool()
        # What this process has put itself, so that a finish needn't ask. Bounded; a miss costs a listing.
        self._written: OrderedDict[str, tuple[Segment, ...]] = OrderedDict()
        self._committed: OrderedDict[str, str] = OrderedDict()

    # Uploads

    async def new_upload(self) -> str:
        upload = keys.object_upload_key()
        self._remember(upload, ())
        return upload

    async def append(
        self,
        upload: str,
        offset: int,
        chunks: AsyncIterable[Chunk],
        *,
        on_chunk: Callable[[Chunk], object],
    ) -> int:
        # Other nodes put segments too, so what this one knows is enough only for the first byte.
        is_new = offset == 0 and self._written.get(keys.checked_upload(upload)) == ()
        before = () if is_new else _chain(await self._listed(upload), offset)
        if before is None:
            raise UploadShort(upload, await self.upload_size(upload), offset)
        with self._counted(upload, offset) as count:

            def arrived(chunk: Chunk) -> None:
                on_chunk(chunk)
                count(len(chunk))

            feed = _Feed(chunks, self._hashing, arrived)
            try:
                segment = await self._put_segment(upload, offset, feed)
            finally:
                await feed.quiet()
        if segment is not None:
            self._remember(upload, (*before, segment))
        if feed.failure is not None:
            raise feed.failure
        return feed.size

    async def _put_segment(self, upload: str, offset: int, feed: _Feed) -> Segment | None:
        key = keys.segment_key(upload, offset)
        first = await feed.take(self._part_bytes)
        if not first:
            return None
        if feed.ended:
            await self._do(
                "storing an upload", obstore.put_async(self._bucket, key, first, use_multipart=False)
            )
        else:
            await self._put_stream(key, feed.after(first))
        return Segment(key, offset, feed.size)

    async def _put_whole(self, doing: str, key: str, data: bytes) -> None:
        await self._do(doing, obstore.put_async(self._bucket, key, data, use_multipart=False))

    async def _put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        await self._do(
            "storing an upload",
            obstore.put_async(
                self._bucket,
                key,
                chunks,
                use_multipart=True,
                chunk_size=self._part_bytes,
                max_concurrency=MAX_CONCURRENCY,
            ),
        )

    async def upload_size(self, upload: str) -> int:
        return _reach(await self._listed(upload))

    def _counted(self, upload: str, offset: int) -> AbstractContextManager[Callable[[int], object]]:
        return (
            nullcontext(lambda _: None) if self._arriving is None else self._arriving.counted(upload, offset)
        )

    async def arriving(self, upload: str) -> int:
        """See BlobStore."""
        return 0 if self._arriving is None else self._arriving.of(keys.checked_upload(upload))

    async def read_upload(self, upload: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        segments = await self._listed(upload)
        reach = _reach(segments)
        if reach < end:
            raise UploadShort(upload, reach, end)
        return self._read_chain(_chain(segments, reach) or (), start, end)

    async def abort(self, upload: str) -> None:
        kept = self._committed.get(keys.checked_upload(upload))
        held = [segment.key for segment in await self._listed(upload) if segment.key != kept]
        for start in range(0, len(held), DELETED_TOGETHER):
            await self._delete_all(held[start : start + DELETED_TOGETHER])
        self._written.pop(upload, None)

    async def commit(self, upload: str, digest: Digest, size: int) -> str:
        known = self._written.get(keys.checked_upload(upload))
        chain = None if known is None else _chain(known, size)
        sure = chain is not None
        if chain is None:
            listed = await self._listed(upload)
            chain = _chain(listed, size)
            if chain is None:
                raise UploadShort(upload, _reach(listed), size)
            sure = len(listed) == len(chain)
        if not chain:
            return await self.put(digest, b"")
        if len(chain) == 1 and sure:
            phys = chain[0].key
        else:
            phys = await self._join(upload, chain, digest, size)
        self._committed[upload] = phys
        _bound(self._committed)
        self._written.pop(upload, None)
        return phys

    async def _join(self, upload: str, chain: tuple[Segment, ...], digest: Digest, size: int) -> str:
        """Stream several segments into one new object and remove them. Raises StoredBytesDiffer."""
        phys = keys.segment_key(keys.object_upload_key(), 0)
        hasher = Hasher(digest.algorithm)
        feed = _Feed(self._read_chain(chain, 0, size), self._hashing, hasher.update)
        try:
            await self._put_stream(phys, feed.after(b""))
        finally:
            await feed.quiet()
        if feed.failure is not None or hasher.size != size or hasher.digest() != digest:
            await self._delete(phys)
            raise feed.failure or StoredBytesDiffer(f"the parts of the upload of {digest} are not its bytes")
        await self.abort(upload)
        return phys

    async def put(self, digest: Digest, data: bytes) -> str:
        del digest
        phys = keys.segment_key(keys.object_upload_key(), 0)
        await self._put_whole("storing a blob", phys, data)
        return phys

    # Blobs

    async def open(self, phys: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        if end is not None and start < end:
            answer = await self._get(keys.checked_blob(phys), start, end)
            return self._read(phys, start, min(end, int(answer.meta["size"])), answer)
        stored = await self.size(phys)
        if stored is None:
            raise BlobMissing(phys)
        return self._read(phys, start, stored if end is None else end)

    def file_path(self, phys: str) -> Path | None:
        keys.checked_blob(phys)
        return None

    async def signed_url(self, phys: str, *, expires_s: int) -> str | None:
        keys.checked_blob(phys)
        return None if self._sign is None else self._sign(phys, timedelta(seconds=expires_s))

    async def size(self, phys: str) -> int | None:
        try:
            found = await self._do(
                "reading a blob", obstore.head_async(self._bucket, keys.checked_blob(phys)), may_lack=True
            )
        except BlobMissing:
            return None
        return int(found["size"])

    async def delete(self, phys: str) -> None:
        await self._delete(keys.checked_blob(phys))

    async def list(self) -> AsyncGenerator[StoredObject, None]:
        async for found in self._walk(keys.BLOBS):
            yield found

    async def list_uploads(self) -> AsyncGenerator[StoredObject, None]:
        nothing: tuple[StoredObject, ...] = ()
        for found in nothing:
            yield found

    # The store itself

    async def read_identity(self) -> StoreIdentity | None:
        try:
            answer = await self._do(
                "reading the store's identity",
                obstore.get_async(self._bucket, keys.IDENTITY),
                may_lack=True,
            )
            data = await self._do("reading the store's identity", answer.bytes_async(), may_lack=True)
        except BlobMissing:
            return None
        return parse_identity(bytes(data), keys.IDENTITY)

    async def write_identity(self, store_id: str, epoch: int) -> None:
        data = json.dumps({"store_id": store_id, "epoch": epoch}).encode()
        await self._do("marking the store", obstore.put_async(self._bucket, keys.IDENTITY, data))

    async def prepare(self) -> None:
        if self._arriving is not None:
            self._arriving.forget_old()

    async def check(self) -> None:
        await self.read_identity()

    async def close(self) -> None:
        self._hashing.shutdown(wait=False)

    # Inside

    def _remember(self, upload: str, segments: tuple[Segment, ...]) -> None:
        self._written[upload] = segments
        self._written.move_to_end(upload)
        _bound(self._written)

    async def _listed(self, upload: str) -> tuple[Segment, ...]:
        found = [
            Segment(stored.phys, keys.segment_offset(stored.phys), stored.size)
            async for stored in self._walk(keys.checked_upload(upload))
        ]
        return tuple(sorted(found, key=lambda segment: (segment.start, segment.key)))

    async def _walk(self, prefix: str) -> AsyncGenerator[StoredObject, None]:
        try:
            async for batch in obstore.list(self._bucket, prefix):
                for found in batch:
                    try:
                        phys = keys.checked_blob(found["path"])
                    except InvalidKey:
                        continue
                    yield StoredObject(phys, found["size"], found["last_modified"].timestamp())
        except (BaseError, OSError) as error:
            raise _failed(error, f"listing {prefix}") from error

    async def _delete(self, key: str) -> None:
        try:
            await self._do("removing a blob", obstore.delete_async(self._bucket, key), may_lack=True)
        except BlobMissing:
            return

    async def _delete_all(self, names: Sequence[str]) -> None:
        try:
            await self._do("removing an upload", obstore.delete_async(self._bucket, [*names]), may_lack=True)
        except BlobMissing:  # somebody else was here; the store has not said which are left
            for name in names:
                await self._delete(name)

    async def _read_chain(
        self, chain: tuple[Segment, ...], start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        for segment in chain:
            first, last = max(start, segment.start), min(end, segment.end)
            if first < last:
                async with aclosing(
                    self._read(segment.key, first - segment.start, last - segment.start)
                ) as stream:
                    async for piece in stream:
                        yield piece

    async def _get(self, key: str, start: int, end: int) -> GetResult:
        try:
            return await obstore.get_async(self._bucket, key, options={"range": (start, end)})
        except NOT_FOUND as error:
            raise _absent(error, key) from None
        except (BaseError, OSError) as error:
            raise _failed(error, f"reading {key}") from error

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
                await asyncio.sleep(0.05 * 2**failures)
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


class _Feed:
    """A request's bytes for the object store, hashed in a thread on the way.

    A failure of the source ends the bytes and is kept in `failure`: what came before it is worth keeping.
    """

    def __init__(self, chunks: AsyncIterable[Chunk], pool: Any, on_chunk: Callable[[Chunk], object]) -> None:
        self._source = aiter(chunks)
        self._pool = pool
        self._on_chunk = on_chunk
        self._hashing: asyncio.Future[None] | None = None
        self.size = 0
        self.ended = False
        self.failure: BaseException | None = None

    async def take(self, size: int) -> bytes:
        """At least `size` bytes, fewer only at the end."""
        taken = bytearray()
        while len(taken) < size and not self.ended:
            taken += await self._batch()
        return bytes(taken)

    async def after(self, first: bytes) -> AsyncGenerator[bytes, None]:
        """`first`, then everything that is left."""
        if first:
            yield first
        while not self.ended:
            if batch := await self._batch():
                yield batch

    async def quiet(self) -> None:
        """Wait for the hash."""
        if self._hashing is not None:
            cancelled = await wait_for_end(self._hashing)
            self._hashing.result()
            if cancelled:
                raise asyncio.CancelledError

    async def _batch(self) -> bytes:
        batch = bytearray()
        try:
            while len(batch) < HASH_BYTES:
                batch += await anext(self._source)
        except StopAsyncIteration:
            self.ended = True
        except BaseException as error:  # noqa: BLE001 - kept, and raised once the bytes are stored
            self.ended = True
            self.failure = error
        data = bytes(batch)
        self.size += len(data)
        await self.quiet()
        if data:
            loop = asyncio.get_running_loop()
            self._hashing = loop.run_in_executor(self._pool, self._hash, data)
        return data

    def _hash(self, data: bytes) -> None:
        self._on_chunk(data)


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
) -> ObjectStore:
    """The store at `url` (`s3://bucket/prefix`, `gs://…`, `az://…`); empty values come from the
    environment. `sign` makes URLs for clients, unless the store itself does. `arriving` is a folder that all
    processes of this machine share, for how far requests have come.
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
    return ObjectStore(
        bucket,
        sign=sign or partial(obstore.sign, bucket, "GET"),
        part_bytes=part_bytes,
        arriving=None if arriving is None else ArrivingBytes(arriving),
    )


def part_size(largest_blob: int, wanted: int = PART_BYTES) -> int:
    """Bytes of a part, so that a blob of `largest_blob` bytes fits into one object. Pure."""
    return max(LEAST_PART_BYTES, wanted, -(-largest_blob // MAX_PARTS))


def _chain(segments: tuple[Segment, ...], size: int) -> tuple[Segment, ...] | None:
    """Segments that follow one another from byte 0 to `size`; None when there are none.

    Of two that start at the same byte the one that leads to `size` is taken.
    """
    onward: dict[int, Segment] = {}
    # From the end, so that each segment is looked at once: a layer pushed in pieces may have thousands.
    for segment in sorted(segments, key=lambda segment: (-segment.start, segment.key)):
        if segment.size and segment.start not in onward and (segment.end == size or segment.end in onward):
            onward[segment.start] = segment
    chain, at = list[Segment](), 0
    while at < size:
        if at not in onward:
            return None
        chain.append(onward[at])
        at = onward[at].end
    return tuple(chain)


def _reach(segments: tuple[Segment, ...]) -> int:
    """The furthest byte up to which the segments follow one another from 0."""
    reached = {0}
    for segment in sorted(segments, key=lambda segment: segment.start):
        if segment.start in reached:
            reached.add(segment.end)
    return max(reached)


def _bound(remembered: OrderedDict[str, Any]) -> None:
    while len(remembered) > REMEMBERED_UPLOADS:
        remembered.popitem(last=False)


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
