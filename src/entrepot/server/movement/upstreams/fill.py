"""One blob on its way here, read by clients while it grows.

Of all processes and nodes one leads: it holds the row in `fetches`, asks the upstream and writes. The others
follow: they see by the row where the bytes land, and serve what has landed. When a leader is gone, one of
them takes over and goes on with what is there.

    take the row ─ mine ─► open ─► write and hash ─► digest right? ─► a blob, linked; the row goes
         ▲   └─ another's ─► follow it ─► it landed: done
         └─────────────────────┘ its holder is gone

The last byte is kept back until the digest was found right and the blob is durable: a client never has all of
what is not so. A reader that has sent bytes of one try never goes on with those of another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from entrepot.client.blobs import RemoteBlob
from entrepot.client.transport import ConnectionBroken
from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.oci.digest import Digest, Hasher
from entrepot.server.access.decision.actor import SYSTEM
from entrepot.server.access.decision.change import Change
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.movement.upstreams import fetches
from entrepot.server.movement.upstreams.errors import UpstreamMisbehaved, UpstreamRefused, UpstreamUnreachable
from entrepot.server.movement.upstreams.fetches import FetchRow
from entrepot.server.movement.upstreams.remote import Remote
from entrepot.server.repos.blobs import Blobs, StoredBlob
from entrepot.server.repos.errors import BlobTooLarge, BlobUnknown
from entrepot.server.repos.room import room_left
from entrepot.server.repos.uploads import RepositoryUploads
from entrepot.server.repos.uploads.discard import discard
from entrepot.server.repos.uploads.holder import is_dead, new_claim
from entrepot.server.storage.driver import Chunk
from entrepot.server.storage.errors import StorageFailed, UploadShort
from entrepot.server.storage.store import BlobStore

__all__ = ["Fill", "FillGround", "in_its_project", "link"]

log = get_log(__name__)

HELD_S: Final = 30.0
"""A leader that has not renewed its row for so long has lost it."""
FOLLOW_S: Final = 0.05
FOLLOW_LIST_S: Final = 0.5
"""How often a follower looks for more: at a file, and at a list of objects."""
PIECE_BYTES: Final = 1024 * 1024
READ_OUT_BEGINS_S: Final = 1.0
READ_OUT_S: Final = 600.0
"""What is not kept is here for its readers so long."""
SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""Put at a time where objects can't grow; as many bytes of a fill are in memory meanwhile."""


@dataclass(frozen=True, slots=True)
class FillGround:
    """What all fills of a process work with."""

    catalog: Catalog
    store: BlobStore
    blobs: Blobs
    uploads: RepositoryUploads
    threads: Executor
    turns: asyncio.Semaphore
    blob_bytes: int
    timeout_s: float


class Fill:
    """One for each (project, digest) and process, whoever asks. `run` it as a task of its own."""

    def __init__(self, ground: FillGround, remote: Remote, repository: str, digest: Digest) -> None:
        self._ground = ground
        self._remote = remote
        self.repository = repository
        self.digest = digest
        self.project_id = remote.upstream.project_id
        self.size: int | None = None
        self.stored: StoredBlob | None = None
        self.failure: EntrepotError | None = None
        self.kept = True
        """Whether the project has room for it. What it has none for is passed on alone."""
        self._readers = 0
        self._verified = False
        self._claim = ""
        self._phys = ""
        self._try = 0
        self._landed = 0
        """Bytes that can be read from the store."""
        self._arrived = 0
        """Those and what is in `_ahead`."""
        self._ahead: deque[tuple[int, bytes]] = deque()
        self._event = asyncio.Event()

    # For readers

    async def opened(self) -> int:
        """Wait until it is known how many bytes there are. Raises BlobUnknown, or why it can't be fetched."""
        while self.size is None:
            if self.failure is not None:
                raise self.failure
            await self._event.wait()
        return self.size

    async def done(self) -> StoredBlob:
        """Wait for its end. Raises what went wrong."""
        while self.stored is None:
            if self.failure is not None:
                raise self.failure
            await self._event.wait()
        return self.stored

    async def read(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Bytes `start` up to but not including `end`, as they come. Raises what ended the fill."""
        self._readers += 1
        try:
            async with aclosing(self._read(start, end)) as stream:
                async for piece in stream:
                    yield piece
        finally:
            self._readers -= 1
            self._changed()

    async def _read(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        at, of_try = start, 0
        while at < end:
            if of_try not in {0, self._try}:
                raise UpstreamUnreachable(f"fetching {self.digest} was begun anew; ask again")
            if self.stored is not None:
                stream = await self._ground.blobs.open(self.stored, at, end)
                async with aclosing(stream):
                    async for piece in stream:
                        yield piece
                return
            if self.failure is not None:
                raise self.failure
            limit = min(end, self._arrived, (self.size or 0) - (not self._verified))
            if at >= limit:
                await self._event.wait()
                continue
            of_try = self._try
            if at >= self._landed:
                piece = self._in_memory(at, limit)
                at += len(piece)
                yield piece
                continue
            event = self._event
            try:
                stream = await self._ground.store.read_upload(self._phys, at, min(limit, self._landed))
            except UploadShort:  # it has just become the blob
                if event is self._event:
                    await event.wait()
                continue
            async with aclosing(stream):
                async for piece in stream:
                    at += len(piece)
                    yield piece

    def _in_memory(self, at: int, limit: int) -> bytes:
        for start, piece in self._ahead:
            if start <= at < start + len(piece):
                return piece[at - start : limit - start]
        raise UpstreamUnreachable(f"fetching {self.digest} has lost a part; ask again")

    # The fill

    async def run(self) -> None:
        """To its end, whoever still waits for it. Raises nothing; `stored` or `failure` is set."""
        try:
            self.stored = await self._run()
            self.size = self.stored.size
        except EntrepotError as error:
            self.failure = error
            if not isinstance(error, BlobUnknown):
                log.warning(
                    "fetch failed", digest=str(self.digest), repository=self.repository, reason=error.message
                )
        except asyncio.CancelledError:
            self.failure = UpstreamUnreachable("this server is stopping; ask again")
            raise
        except Exception:
            self.failure = UpstreamUnreachable("fetching it failed; the server's log has the cause")
            log.exception("fetch failed", digest=str(self.digest), repository=self.repository)
        finally:
            self._ahead.clear()
            self._changed()

    async def _run(self) -> StoredBlob:
        dead: str | None = None
        while True:
            landed = await self._find_landed()
            if landed is not None:
                return landed
            self._claim = new_claim()
            row = await self._taken(dead)
            if row.mine:
                return await self._lead(row)
            dead = row.holder if is_dead(row.holder) else None
            if dead is None:
                await self._follow(row)

    async def _taken(self, dead: str | None) -> FetchRow:
        now = self._ground.catalog.clock.steady()
        until = now + microseconds(HELD_S)
        return await self._ground.catalog.write(
            fetches.take,
            self.project_id,
            str(self.digest),
            self._claim,
            dead,
            now,
            until,
            durable=False,
            brief=True,
        )

    async def _find_landed(self) -> StoredBlob | None:
        """The blob, once a repository of the project has it; linked to ours then."""
        rows = await self._ground.catalog.hot(
            fetches.LANDED, p_project=self.project_id, p_digest=str(self.digest)
        )
        if not rows:
            return None
        name, phys, size = rows[0]
        if name != self.repository:
            await link(self._ground.blobs, self.repository, self.digest, name)
        return StoredBlob(self.digest, size, phys)

    async def _lead(self, row: FetchRow) -> StoredBlob:
        ground = self._ground
        key = (self.project_id, str(self.digest), self._claim)
        end = fetches.give_back
        keeper = asyncio.ensure_future(self._keep_row())
        try:
            async with ground.turns:
                return await self._fetch(row)
        except asyncio.CancelledError:
            end = fetches.hand_over
            raise
        finally:
            keeper.cancel()
            with contextlib.suppress(CatalogUnavailable):
                await asyncio.shield(ground.catalog.write(end, *key, durable=False, brief=True))

    async def _fetch(self, row: FetchRow) -> StoredBlob:
        ground = self._ground
        phys, hasher = await self._resumed(row)
        offset = hasher.size
        remote = None
        if row.size is None or offset < row.size:
            remote = await self._remote.open_blob(
                self.repository, self.digest, offset=offset, size=row.size if offset else None
            )
            if remote is None:
                await discard(ground.store, phys)
                raise BlobUnknown(self.repository, self.digest)
        try:
            size = remote.size if remote is not None else offset
            if size > ground.blob_bytes:
                raise BlobTooLarge(ground.blob_bytes)
            left = await room_left(ground.catalog, self.repository)
            self.kept = left is None or size <= left
            key = (self.project_id, str(self.digest), self._claim)
            if self.kept:
                await ground.catalog.write(fetches.describe, *key, phys, size, durable=False, brief=True)
            else:  # nobody can follow what will not be here in the end
                await ground.catalog.write(fetches.give_back, *key, durable=False, brief=True)
            self._begin(phys, size, offset)
            if remote is not None:
                await self._pour(remote, size, hasher)
            if hasher.size != size or hasher.digest() != self.digest:
                raise UpstreamMisbehaved(
                    f"upstream {self._remote.upstream.registry} sent bytes for {self.digest} "
                    f"that have the digest {hasher.digest()}; nothing of them was kept"
                )
            if not self.kept:
                await self._read_out()
                raise UpstreamRefused(f"{self._remote.upstream.project} has no room for {self.digest}")
        except asyncio.CancelledError:
            if not self.kept:
                await discard(ground.store, phys)
            raise  # what has landed is gone on with
        except BaseException:
            await discard(ground.store, phys)
            raise
        finally:
            if remote is not None:
                remote.abandon()
                await asyncio.get_running_loop().run_in_executor(ground.threads, remote.close)
        return await ground.uploads.adopt(
            self.repository, phys, size, self.digest, actor=SYSTEM, permit=in_its_project
        )

    async def _read_out(self) -> None:
        """Let those read to the end who have been told of it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + READ_OUT_S
        self._verified = True
        self._changed()
        await asyncio.sleep(READ_OUT_BEGINS_S)
        while self._readers and loop.time() < until:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), until - loop.time())

    async def _resumed(self, row: FetchRow) -> tuple[str, Hasher]:
        """Where to write, with the hash of what is there already."""
        store, hasher = self._ground.store, Hasher(self.digest.algorithm)
        if row.phys and row.size is not None and row.resumable:
            try:
                there = min(await store.upload_size(row.phys), row.size)
                stream = await store.read_upload(row.phys, 0, there)
                async with aclosing(stream):
                    async for piece in stream:
                        hasher.update(piece)
                return row.phys, hasher
            except StorageFailed:
                hasher = Hasher(self.digest.algorithm)
        return await store.new_upload(), hasher

    async def _pour(self, remote: RemoteBlob, size: int, hasher: Hasher) -> None:
        """From the upstream into the store."""
        store, loop = self._ground.store, asyncio.get_running_loop()

        def written(chunk: Chunk) -> None:  # in a thread
            hasher.update(chunk)
            if store.grows:
                loop.call_soon_threadsafe(self._note_landed, len(chunk))

        while self._arrived < size:
            begun = self._arrived
            end = size if store.grows else min(size, begun + SEGMENT_BYTES)
            await store.append(self._phys, begun, self._pieces(remote, end), on_chunk=written)
            if not store.grows:
                self._note_landed(end - begun)

    async def _pieces(self, remote: RemoteBlob, end: int) -> AsyncIterator[bytes]:
        while self._arrived < end:
            piece = await self._piece(remote, min(PIECE_BYTES, end - self._arrived))
            self._ahead.append((self._arrived, piece))
            self._arrived += len(piece)
            self._changed()
            yield piece

    async def _piece(self, remote: RemoteBlob, most: int) -> bytes:
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._ground.threads, remote.read, most)
        try:
            # A connection that trickles is as dead as one that is silent.
            piece = await asyncio.wait_for(asyncio.shield(reading), self._ground.timeout_s)
        except (TimeoutError, asyncio.CancelledError) as error:
            remote.abandon()
            reading.add_done_callback(_look_at)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise UpstreamUnreachable(
                f"upstream {self._remote.upstream.registry} sends {self.digest} too slowly"
            ) from None
        except (EntrepotError, ConnectionBroken) as error:
            raise self._remote.translated(error) from error
        if not piece:
            raise UpstreamMisbehaved(
                f"upstream {self._remote.upstream.registry} sent less of {self.digest} than it had announced"
            )
        return piece

    def _begin(self, phys: str, size: int, offset: int) -> None:
        if phys != self._phys:
            self._phys = phys
            self._try += 1
            self._ahead.clear()
        self.size = size
        self._landed = self._arrived = offset
        self._changed()

    def _note_landed(self, more: int) -> None:
        self._landed += more
        while self._ahead and self._ahead[0][0] + len(self._ahead[0][1]) <= self._landed:
            self._ahead.popleft()

    async def _keep_row(self) -> None:
        while True:
            await asyncio.sleep(HELD_S / 3)
            until = self._ground.catalog.clock.steady() + microseconds(HELD_S)
            with contextlib.suppress(CatalogUnavailable):
                await self._ground.catalog.write(
                    fetches.renew, self.project_id, str(self.digest), self._claim, until, durable=False
                )

    async def _follow(self, row: FetchRow) -> None:
        """Until the blob is here or its leader is gone."""
        ground = self._ground
        holder = row.holder
        find = partial(
            ground.catalog.hot, fetches.FETCH, p_project=self.project_id, p_digest=str(self.digest)
        )
        while True:
            await asyncio.sleep(FOLLOW_S if ground.store.grows else FOLLOW_LIST_S)
            rows = await find()
            if not rows:
                return
            row = FetchRow(*rows[0])
            if row.holder != holder or is_dead(holder) or row.until <= ground.catalog.clock.steady():
                return
            if row.size is None:
                continue
            if row.phys != self._phys:
                self._begin(row.phys, row.size, 0)
            reach = min(await ground.store.upload_size(row.phys), row.size)
            if reach > self._landed:
                self._landed = self._arrived = reach
                self._changed()

    def _changed(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()


async def link(blobs: Blobs, repository: str, digest: Digest, from_repository: str) -> StoredBlob | None:
    """Show in one repository of a proxy project what another one has."""
    return await blobs.mount(repository, digest, from_repository, actor=SYSTEM, permit=in_its_project)


def in_its_project(connection: Connection, change: Change) -> None:  # noqa: ARG001 - a permit
    """What is fetched makes repositories, but no project: one that was deleted meanwhile stays so.

    Raises UpstreamRefused.
    """
    if change.action == "create-project":
        raise UpstreamRefused(f"project {change.repository} is not here any more; nothing was kept")


def _look_at(future: asyncio.Future[bytes]) -> None:
    if not future.cancelled():
        future.exception()
