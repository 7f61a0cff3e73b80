"""Uploads in a place whose objects can't grow: a list of *segments*.

Each is a completed object that one request has put, named by the byte it starts at. So an upload survives
its node and goes on from another one. When the upload is finished, a single segment (docker's way, and a
whole PUT) is the blob as it is, without a copy; several are streamed into one object and verified on the
way. A segment that a later request has put again stays unread: the chain that is committed is the one this
process wrote, or else the one whose bytes have the digest.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from entrepot.oci.digest import Digest, Hasher
from entrepot.server.storage import keys
from entrepot.server.storage.arrivals import ArrivalCounts
from entrepot.server.storage.driver import Chunk, SegmentDriver, StoredObject
from entrepot.server.storage.errors import StoredBytesDiffer, UploadShort
from entrepot.server.storage.threads import hash_pool, wait_for_end

__all__ = ["SegmentedUploads"]

HASH_BYTES: Final = 512 * 1024
REMEMBERED_UPLOADS: Final = 4096


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


class SegmentedUploads:
    """See Uploads. `arrivals` counts what has come of a request whose segment is not there yet."""

    def __init__(self, driver: SegmentDriver, *, arrivals: ArrivalCounts | None = None) -> None:
        self._driver = driver
        self._arrivals = arrivals
        self._hashing = hash_pool()
        # What this process has put itself, so that a finish needn't ask. Bounded; a miss costs a listing.
        self._written: OrderedDict[str, tuple[Segment, ...]] = OrderedDict()
        self._committed: OrderedDict[str, str] = OrderedDict()

    def new_upload(self) -> str:
        upload = keys.object_upload_key()
        self._remember(upload, ())
        return upload

    def new_blob(self, digest: Digest) -> str:
        del digest  # a segment becomes the blob as it is, so names say nothing about the bytes
        return keys.segment_key(keys.object_upload_key(), 0)

    async def append(
        self,
        upload: str,
        offset: int,
        chunks: AsyncIterable[Chunk],
        *,
        on_chunk: Callable[[Chunk], object],
    ) -> int:
        # Other nodes put segments too, so what this one knows is enough only for the first byte.
        is_new = offset == 0 and self._written.get(upload) == ()
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
        first = await feed.batch()
        if not first:
            return None
        if feed.ended:
            await self._driver.put(key, first)
        else:
            await self._driver.put_stream(key, feed.after(first))
        return Segment(key, offset, feed.size)

    async def upload_size(self, upload: str) -> int:
        return _reach(await self._listed(upload))

    def _counted(self, upload: str, offset: int) -> AbstractContextManager[Callable[[int], object]]:
        return (
            nullcontext(lambda _: None) if self._arrivals is None else self._arrivals.counted(upload, offset)
        )

    async def arriving(self, upload: str) -> int:
        return 0 if self._arrivals is None else self._arrivals.of(upload)

    async def read_upload(self, upload: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        segments = await self._listed(upload)
        reach = _reach(segments)
        if reach < end:
            raise UploadShort(upload, reach, end)
        return self._read_chain(_chain(segments, reach) or (), start, end)

    async def abort(self, upload: str) -> None:
        kept = self._committed.get(upload)
        held = [segment.key for segment in await self._listed(upload) if segment.key != kept]
        if held:
            await self._driver.delete(held)
        self._written.pop(upload, None)

    async def commit(self, upload: str, digest: Digest, size: int) -> str:
        known = self._written.get(upload)
        chain = None if known is None else _chain(known, size)
        sure = chain is not None
        if chain is None:
            listed = await self._listed(upload)
            chain = _chain(listed, size)
            if chain is None:
                raise UploadShort(upload, _reach(listed), size)
            sure = len(listed) == len(chain)
        if not chain:
            phys = self.new_blob(digest)
            await self._driver.put(phys, b"")
            return phys
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
        phys = self.new_blob(digest)
        hasher = Hasher(digest.algorithm)
        feed = _Feed(self._read_chain(chain, 0, size), self._hashing, hasher.update)
        try:
            await self._driver.put_stream(phys, feed.after(b""))
        finally:
            await feed.quiet()
        if feed.failure is not None or hasher.size != size or hasher.digest() != digest:
            await self._driver.delete([phys])
            raise feed.failure or StoredBytesDiffer(f"the parts of the upload of {digest} are not its bytes")
        await self.abort(upload)
        return phys

    async def list_uploads(self) -> AsyncGenerator[StoredObject, None]:
        nothing: tuple[StoredObject, ...] = ()  # they are among the blobs
        for found in nothing:
            yield found

    async def prepare(self) -> None:
        """See Prepares."""
        if self._arrivals is not None:
            self._arrivals.forget_old()

    async def close(self) -> None:
        self._hashing.shutdown(wait=False)

    def _remember(self, upload: str, segments: tuple[Segment, ...]) -> None:
        self._written[upload] = segments
        self._written.move_to_end(upload)
        _bound(self._written)

    async def _listed(self, upload: str) -> tuple[Segment, ...]:
        found = [
            Segment(stored.phys, keys.segment_offset(stored.phys), stored.size)
            async for stored in self._driver.list(upload)
            if keys.is_blob(stored.phys)
        ]
        return tuple(sorted(found, key=lambda segment: (segment.start, segment.key)))

    async def _read_chain(
        self, chain: tuple[Segment, ...], start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        for segment in chain:
            first, last = max(start, segment.start), min(end, segment.end)
            if first < last:
                stream = await self._driver.read(segment.key, first - segment.start, last - segment.start)
                async with aclosing(stream):
                    async for piece in stream:
                        yield piece


class _Feed:
    """A request's bytes on their way into a segment, hashed in a thread on the way.

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

    async def after(self, first: bytes) -> AsyncGenerator[bytes, None]:
        """`first`, then everything that is left."""
        if first:
            yield first
        while not self.ended:
            if batch := await self.batch():
                yield batch

    async def quiet(self) -> None:
        """Wait for the hash."""
        if self._hashing is not None:
            cancelled = await wait_for_end(self._hashing)
            self._hashing.result()
            if cancelled:
                raise asyncio.CancelledError

    async def batch(self) -> bytes:
        """The next HASH_BYTES, hashed meanwhile; fewer, or none, at the end."""
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
