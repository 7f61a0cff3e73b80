"""Uploads: bytes on their way to become blobs.

One request at a time owns an upload: it claims the row, and only then believes the offset that the row names.
Its end, whatever the reason, records how far the bytes go and gives the claim back in one statement; who has
lost the claim records nothing. A process whose claim ran out while it may still be writing is left behind
with the old file: the next request copies what was recorded and goes on in a new one.

The digest of the bytes so far lives in three places, each believed only while it must be right:

* in this process, with how many bytes it covers; what is missing is read from the store;
* in the row, at the end of each request, for a process of the same boot of the machine: so the closing PUT
  costs nothing on any worker;
* in the bytes themselves, which are read again when nothing else is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sqlalchemy import Connection, bindparam, select

from entrepot.errors import EntrepotError
from entrepot.oci.digest import Digest, Hasher
from entrepot.server.db.clock import Clock, boot_id, microseconds
from entrepot.server.db.engine import Catalog
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.db.hot import HotQuery
from entrepot.server.db.tables import blob, repo, upload, upload_begun
from entrepot.server.repos.blobs import Blobs, StoredBlob
from entrepot.server.repos.changes import Actor, Permit, allow_all
from entrepot.server.repos.errors import (
    BlobTooLarge,
    DigestMismatch,
    QuotaExceeded,
    RangeInvalid,
    SizeInvalid,
    UploadBusy,
    UploadUnknown,
)
from entrepot.server.repos.feed import Feed, uninterrupted
from entrepot.server.repos.holder import is_dead, new_claim
from entrepot.server.repos.limits import DEFAULT_LIMITS, RepositoryLimits
from entrepot.server.repos.links import StoredBytes
from entrepot.server.repos.room import has_quota, within_quota
from entrepot.server.repos.uploadids import Fresh, UploadIds, ensure_upload_key
from entrepot.server.repos.uploadrows import (
    Claimed,
    CopyGone,
    Finish,
    NewUpload,
    Progress,
    UploadRow,
    Wish,
    claim_upload,
    drop_upload,
    finish_upload,
    forget_begun,
    keep_claim,
    make_repository,
    move_upload,
    record_progress,
)
from entrepot.server.storage.base import BlobStore, Chunk
from entrepot.server.storage.errors import StorageFailed, StoredBytesDiffer, UploadShort

__all__ = ["Upload", "Uploads"]

REMEMBERED: Final = 4096
"""Running hashes kept by one process."""
WHOLE_BYTES: Final = 64 * 1024
"""A blob up to this size that comes in one request is stored at once, without an upload file."""
FORGOTTEN_AT_ONCE: Final = 5_000
"""Marks dropped in one transaction."""
UNCOUNTED: Final = frozenset({"open", "system"})
"""Kinds of actors whose uploads are not limited in number: everybody is the same one."""

_STATUS = HotQuery(
    select(upload.c.offset, upload.c.algorithm, upload.c.expires_at)
    .select_from(upload)
    .join(repo, repo.c.id == upload.c.repo_id)
    .where(
        upload.c.id == bindparam("id"), repo.c.name == bindparam("repository"), repo.c.deleted_at.is_(None)
    )
)
_REPOSITORY = HotQuery(select(repo.c.id).where(repo.c.name == bindparam("name"), repo.c.deleted_at.is_(None)))
_BEGUN = HotQuery(select(upload_begun.c.id).where(upload_begun.c.id == bindparam("id")))
_COPY = HotQuery(select(blob.c.phys, blob.c.size, blob.c.state).where(blob.c.digest == bindparam("digest")))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as its client sees it."""

    id: str
    offset: int
    """Bytes received; the next chunk starts here."""
    algorithm: str = "sha256"


@dataclass(slots=True)
class _Running:
    """The hash of the first `hasher.size` bytes of a physical upload."""

    phys: str
    hasher: Hasher


@dataclass(frozen=True, slots=True)
class _Target:
    """Where finished bytes go, and who says so."""

    repository: str
    digest: Digest
    actor: Actor
    permit: Permit


_Copy = tuple[str, int, str]
"""Physical name, size and state of a blob's row."""


@dataclass(frozen=True, slots=True)
class _Hold:
    """The upload that ends with a blob."""

    upload: str
    claim: str | None
    """None: nobody has written to it, and nobody holds it."""


def _hold(held: Claimed | None) -> _Hold | None:
    return _Hold(held.row.id, held.claim) if held else None


class Uploads:
    """Uploads of all repositories. One for each process: it remembers running hashes."""

    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        limits: RepositoryLimits = DEFAULT_LIMITS,
        clock: Clock | None = None,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._limits = limits
        self._clock = clock or catalog.clock
        self._blobs = Blobs(catalog, store, limits, clock)
        self._running: OrderedDict[str, _Running] = OrderedDict()
        self._ids: UploadIds | None = None
        self._since = self._clock.steady()

    async def start(
        self, repository: str, *, actor: Actor, permit: Permit = allow_all, algorithm: str = "sha256"
    ) -> Upload:
        """Begin an upload; the repository is made if it is not there. Raises Denied, InvalidDigest."""
        Hasher(algorithm)  # refuses an algorithm it does not know
        if not await self._catalog.hot(_REPOSITORY, name=repository):
            now = self._clock.now()
            await self._catalog.write(
                make_repository, repository, actor, permit, now, durable=False, brief=True
            )
        ids = self._ids or await self._read_key()
        return Upload(ids.new(repository, algorithm, self._clock.steady()), 0, algorithm)

    async def status(self, repository: str, upload_id: str) -> Upload:
        """How far an upload has come. Raises UploadUnknown."""
        rows = await self._catalog.hot(_STATUS, id=upload_id, repository=repository)
        if rows and rows[0][2] > self._clock.steady():
            return Upload(upload_id, rows[0][0], rows[0][1])
        fresh = None if rows else await self._read_id(repository, upload_id)
        if fresh is None or await self._catalog.hot(_BEGUN, id=upload_id):
            raise UploadUnknown(upload_id)
        return Upload(upload_id, 0, fresh.algorithm)

    async def append(
        self,
        repository: str,
        upload_id: str,
        chunks: AsyncIterable[Chunk],
        *,
        expected_start: int | None = None,
        content_length: int | None = None,
        actor: Actor | None = None,
    ) -> Upload:
        """Add bytes to the end of an upload.

        `expected_start` is where the client thinks that is, None when it did not say. Whatever is raised,
        and also when this is cancelled, what had arrived is kept and `status` tells how much.
        Raises UploadUnknown, UploadBusy, RangeInvalid, SizeInvalid, TooManyUploads, StorageFailed, what
        `chunks` raises, and, when the upload is gone then, BlobTooLarge, QuotaExceeded.
        """
        feed = Feed(chunks, limit=self._limits.blob_bytes, expected=content_length)
        return await uninterrupted(self._append(repository, upload_id, feed, expected_start, actor), feed)

    async def finish(
        self,
        repository: str,
        upload_id: str,
        digest: Digest,
        chunks: AsyncIterable[Chunk] | None = None,
        *,
        expected_start: int | None = None,
        content_length: int | None = None,
        actor: Actor,
        permit: Permit = allow_all,
    ) -> StoredBlob:
        """Add the last bytes, if any, and make the upload a blob of the repository; durable when this
        returns.

        Asked again after it succeeded (an answer was lost), it succeeds again. After DigestMismatch the
        upload is still there. Raises as `append` does, and DigestMismatch, QuotaExceeded, Denied.
        """
        feed = Feed(chunks, limit=self._limits.blob_bytes, expected=content_length)
        target = _Target(repository, digest, actor, permit)
        return await uninterrupted(self._finish(upload_id, feed, expected_start, target), feed)

    async def put(
        self,
        repository: str,
        digest: Digest,
        chunks: AsyncIterable[Chunk],
        *,
        content_length: int | None = None,
        actor: Actor,
        permit: Permit = allow_all,
    ) -> StoredBlob:
        """Store a whole blob that comes in one request; durable when this returns. After an error nothing is
        kept.

        Raises DigestMismatch, SizeInvalid, BlobTooLarge, QuotaExceeded, Denied, StorageFailed, and what
        `chunks` raises.
        """
        feed = Feed(chunks, limit=self._limits.blob_bytes, expected=content_length)
        return await uninterrupted(self._put(feed, _Target(repository, digest, actor, permit)), feed)

    async def cancel(self, repository: str, upload_id: str) -> None:
        """Forget an upload and its bytes; a request that writes to it fails. Raises UploadUnknown."""
        fresh = await self._read_id(repository, upload_id) is not None
        drop = partial(drop_upload, fresh=fresh)
        phys = await self._catalog.write(drop, repository, upload_id, durable=False, brief=True)
        self._running.pop(upload_id, None)
        if phys is None:
            raise UploadUnknown(upload_id)
        if phys:
            await self._abort(phys)

    async def forget_begun(self) -> int:
        """Drop the marks of uploads whose names are too old to be used again; returns how many."""
        before = self._clock.steady() - 2 * microseconds(self._limits.upload_ttl_s)
        forgotten = 0
        while found := await self._catalog.write(forget_begun, before, FORGOTTEN_AT_ONCE, durable=False):
            forgotten += found
        return forgotten

    # Uploads that have no row yet.

    async def _read_key(self) -> UploadIds:
        key = await self._catalog.write(ensure_upload_key)
        self._ids = UploadIds(key)
        return self._ids

    async def _read_id(self, repository: str, upload_id: str) -> Fresh | None:
        """What the name of an upload says; None when it is no name of ours, or too old."""
        fresh = (self._ids or await self._read_key()).read(repository, upload_id)
        ttl = microseconds(self._limits.upload_ttl_s)
        return None if fresh is None or fresh.started_at + ttl <= self._clock.steady() else fresh

    async def _new_row(self, repository: str, upload_id: str, actor: Actor | None) -> NewUpload | None:
        """The row to make for an upload if it has none."""
        fresh = await self._read_id(repository, upload_id)
        if fresh is None:
            return None
        return NewUpload(
            phys=await self._store.new_upload(),
            algorithm=fresh.algorithm,
            boot=boot_id(),
            principal=actor.principal if actor else "",
            started_at=fresh.started_at,
            expires_at=self._clock.steady() + microseconds(self._limits.upload_ttl_s),
        )

    # One request's hold on an upload.

    async def _claim(self, repository: str, upload_id: str, actor: Actor | None) -> Claimed:
        claim, dead = new_claim(), None
        counted = actor is not None and actor.kind not in UNCOUNTED
        new = await self._new_row(repository, upload_id, actor)
        while True:
            now = self._clock.steady()
            taken = await self._catalog.write(
                claim_upload,
                Wish(
                    repository=repository,
                    upload=upload_id,
                    claim=claim,
                    dead=dead,
                    most=self._limits.uploads_per_principal if counted else None,
                    now=now,
                    until=now + microseconds(self._limits.claim_s),
                    new=new,
                ),
                durable=False,
                brief=True,
            )
            if isinstance(taken, Claimed):
                return await self._leave_behind(taken) if taken.left_by_the_living else taken
            if taken.claim is None or taken.claim == dead or not is_dead(taken.claim):
                raise UploadBusy(upload_id, taken.offset)
            dead = taken.claim

    async def _leave_behind(self, held: Claimed) -> Claimed:
        """Copy what was recorded to a new file; whoever still writes to the old one harms nobody."""
        old, offset = held.row, held.row.offset
        self._running.pop(old.id, None)
        try:
            phys = await self._store.new_upload()
            hasher = Hasher(old.algorithm)
            if offset:
                pieces = await self._store.read_upload(old.phys, 0, offset)
                await self._store.append(phys, 0, pieces, on_chunk=hasher.update)
            await self._catalog.write(
                move_upload, old.id, held.claim, phys, offset, durable=False, brief=True
            )
        except UploadShort as error:
            await self._shorten(held, error.stored)
            raise RangeInvalid(old.id, error.stored, offset) from error
        await self._abort(old.phys)
        self._remember(old.id, _Running(phys, hasher))
        row = replace(old, phys=phys, digest_so_far=None, boot_id=boot_id(), claim=held.claim)
        return Claimed(row, held.claim, left_by_the_living=False)

    async def _release(self, held: Claimed, offset: int, digest_so_far: Digest | None, boot: str) -> None:
        """Record how far the bytes go and give the claim back."""
        await self._catalog.write(
            record_progress,
            Progress(
                upload=held.row.id,
                claim=held.claim,
                offset=offset,
                digest_so_far=None if digest_so_far is None else str(digest_so_far),
                boot=boot,
                expires_at=self._clock.steady() + microseconds(self._limits.upload_ttl_s),
            ),
            durable=False,
            brief=True,
        )

    async def _release_unchanged(self, held: Claimed) -> None:
        row = held.row
        so_far = Digest.parse(row.digest_so_far) if row.digest_so_far else None
        with contextlib.suppress(UploadUnknown, CatalogUnavailable):  # then the claim runs out by itself
            await self._release(held, row.offset, so_far, row.boot_id)

    async def _shorten(self, held: Claimed, stored: int) -> None:
        """The store holds less than the row says: that is the truth now."""
        self._running.pop(held.row.id, None)
        await self._release(held, stored, None, boot_id())

    @contextlib.asynccontextmanager
    async def _kept(self, held: Claimed, feed: Feed) -> AsyncIterator[None]:
        """Renew the claim for as long as the block runs; the feed ends when it is lost."""

        async def keep() -> None:
            while True:
                await asyncio.sleep(self._limits.claim_s / 3)
                until = self._clock.steady() + microseconds(self._limits.claim_s)
                try:
                    mine = await self._catalog.write(
                        keep_claim, held.row.id, held.claim, until, durable=False
                    )
                except CatalogUnavailable:
                    continue
                if not mine:
                    feed.failure = UploadUnknown(held.row.id)
                    feed.stop()
                    return

        keeper = asyncio.ensure_future(keep())
        try:
            yield
        finally:
            keeper.cancel()

    # Hashes.

    def _remember(self, upload_id: str, running: _Running) -> None:
        self._running[upload_id] = running
        self._running.move_to_end(upload_id)
        while len(self._running) > REMEMBERED:
            self._running.popitem(last=False)

    async def _hashed(self, row: UploadRow, algorithm: str) -> Hasher:
        """The running hash of everything recorded, from memory as far as that goes. Raises UploadShort."""
        running = self._running.pop(row.id, None)
        usable = (
            running is not None
            and running.phys == row.phys
            and running.hasher.algorithm == algorithm
            and running.hasher.size <= row.offset
        )
        hasher = running.hasher if running is not None and usable else Hasher(algorithm)
        if hasher.size < row.offset:
            async for piece in await self._store.read_upload(row.phys, hasher.size, row.offset):
                hasher.update(piece)
        return hasher

    async def _digest(self, row: UploadRow, algorithm: str) -> Digest:
        """The digest of everything recorded, without reading if somebody in this boot knew it."""
        running = self._running.get(row.id)
        known = running is not None and running.phys == row.phys and running.hasher.size == row.offset
        if running is not None and known and running.hasher.algorithm == algorithm:
            return running.hasher.digest()
        if row.digest_so_far and row.boot_id == boot_id() and row.algorithm == algorithm:
            return Digest.parse(row.digest_so_far)
        return (await self._hashed(row, algorithm)).digest()

    # Receiving.

    async def _append(
        self, repository: str, upload_id: str, feed: Feed, expected_start: int | None, actor: Actor | None
    ) -> Upload:
        held = await self._claim(repository, upload_id, actor)
        row = await self._receive(repository, held, feed, expected_start)
        so_far = await self._so_far(row)
        await self._release(held, row.offset, so_far, boot_id())
        _raise_failure(feed, row.offset)
        return Upload(upload_id, row.offset, row.algorithm)

    async def _so_far(self, row: UploadRow) -> Digest | None:
        running = self._running.get(row.id)
        if running is not None and running.hasher.size == row.offset:
            return running.hasher.digest()
        return Digest.parse(row.digest_so_far) if row.digest_so_far and row.boot_id == boot_id() else None

    async def _receive(
        self, repository: str, held: Claimed, feed: Feed, expected_start: int | None
    ) -> UploadRow:
        """Take the body into the store. Returns the row as it has to become; on an error the claim is given
        back.
        """
        row = held.row
        try:
            if expected_start is not None and expected_start != row.offset:
                raise RangeInvalid(row.id, row.offset, expected_start)
            room = self._limits.blob_bytes - row.offset
            feed.allow(room)
            if (feed.expected or 0) > room:
                feed.too_large = True
            elif await feed.has_bytes():
                row = await self._store_body(repository, held, feed)
        except UploadShort as error:
            await self._shorten(held, error.stored)
            raise RangeInvalid(row.id, error.stored, row.offset) from error
        except StorageFailed:
            self._running.pop(row.id, None)
            with contextlib.suppress(EntrepotError):
                await self._release(held, await self._store.upload_size(row.phys), None, boot_id())
            raise
        except BaseException:
            await self._release_unchanged(held)
            raise
        if feed.too_large:
            await self._drop(repository, row)
            raise BlobTooLarge(self._limits.blob_bytes)
        if isinstance(feed.failure, QuotaExceeded):
            await self._drop(repository, row)  # kept, it would take from others what it can't use
            raise feed.failure
        return row

    async def _store_body(self, repository: str, held: Claimed, feed: Feed) -> UploadRow:
        row = held.row
        body: AsyncIterable[Chunk] = feed
        if await has_quota(self._catalog, repository):
            body = within_quota(
                self._catalog, self._clock, feed, upload_id=row.id, claim=held.claim, offset=row.offset
            )
        async with self._kept(held, feed):
            hasher = await self._hashed(row, row.algorithm)
            stored = await self._store.append(row.phys, row.offset, body, on_chunk=hasher.update)
        offset = row.offset + stored
        if hasher.size != offset:
            raise StorageFailed(f"upload {row.id}: {stored} bytes stored, {hasher.size - row.offset} hashed")
        self._remember(row.id, _Running(row.phys, hasher))
        return replace(row, offset=offset, digest_so_far=str(hasher.digest()), boot_id=boot_id())

    async def _drop(self, repository: str, row: UploadRow) -> None:
        self._running.pop(row.id, None)
        drop = partial(drop_upload, fresh=False)
        await self._catalog.write(drop, repository, row.id, durable=False, brief=True)
        await self._abort(row.phys)

    async def _abort(self, phys: str) -> None:
        try:
            await self._store.abort(phys)
        except StorageFailed as error:
            # The reconcile pass finds it again.
            _log.warning("upload-bytes-left", extra={"phys": phys, "reason": error.message})

    # Finishing.

    async def _finish(
        self, upload_id: str, feed: Feed, expected_start: int | None, target: _Target
    ) -> StoredBlob:
        try:
            small = not expected_start and feed.expected is not None and feed.expected <= WHOLE_BYTES
            fresh = await self._read_id(target.repository, upload_id) if small else None
            if fresh is not None and not await self._catalog.hot(_BEGUN, id=upload_id):
                # A small blob needs no row: its only transaction is the last one, which finds out whether it
                # is still true that nobody has written to the upload.
                if not feed.expected and self._has_lost(fresh, target.digest):
                    raise UploadUnknown(upload_id)
                copy = await self._find_copy(target.digest)
                return await self._commit_whole(feed, target, _Hold(upload_id, None), copy)
            held = await self._claim(target.repository, upload_id, target.actor)
        except UploadUnknown:
            found = await self._blobs.find(target.repository, target.digest)
            if found is None or not await self._blobs.renew_lease(found):
                raise
            await self._catalog.write(_nothing, brief=True)  # what was just seen is on the disk as well
            return found  # the answer to an earlier request was lost
        if held.row.offset == 0 and feed.expected is not None and feed.expected <= WHOLE_BYTES:
            return await self._finish_whole(held, feed, expected_start or 0, target)
        row = await self._receive(target.repository, held, feed, expected_start)
        if feed.failure or feed.stopped or feed.is_short or feed.too_long:
            await self._release(held, row.offset, await self._so_far(row), boot_id())
            _raise_failure(feed, row.offset)
            raise UploadUnknown(upload_id)
        held = Claimed(row, held.claim, left_by_the_living=False)
        try:
            async with self._kept(held, feed):  # reading a large upload back, or joining it, takes long
                found_digest = await self._digest(row, target.digest.algorithm)
                if found_digest != target.digest:
                    raise DigestMismatch(target.digest, found_digest)
                stored = await self._commit(row.phys, row.offset, target, held)
        except UploadShort as error:
            await self._shorten(held, error.stored)
            raise RangeInvalid(upload_id, error.stored, row.offset) from error
        except _BytesGone as error:
            with contextlib.suppress(EntrepotError):
                await self._drop(target.repository, row)
            raise error.cause from error.cause.__cause__
        except BaseException:
            await self._release_unchanged(held)
            raise
        self._running.pop(upload_id, None)
        return stored

    async def _finish_whole(
        self, held: Claimed, feed: Feed, expected_start: int, target: _Target
    ) -> StoredBlob:
        """A small blob whose only bytes come with the last request needs no upload file."""
        try:
            if expected_start != 0:
                raise RangeInvalid(held.row.id, 0, expected_start)
            copy = await self._find_copy(target.digest)
            return await self._commit_whole(feed, target, _hold(held), copy)
        except BaseException:
            await self._release_unchanged(held)
            raise

    def _has_lost(self, fresh: Fresh, digest: Digest) -> bool:
        """Whether an upload that seems to be empty, and is to end with `digest`, had bytes before a power
        cut: its row and its mark are not waited for, so both may be gone.
        """
        return fresh.started_at < self._since and digest != Digest.of(b"", digest.algorithm)

    async def _find_copy(self, digest: Digest) -> _Copy | None:
        rows = await self._catalog.hot(_COPY, digest=str(digest))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    async def _put(self, feed: Feed, target: _Target) -> StoredBlob:
        if (feed.expected or 0) > self._limits.blob_bytes:
            raise BlobTooLarge(self._limits.blob_bytes)
        if feed.expected is not None and feed.expected <= WHOLE_BYTES:
            return await self._commit_whole(feed, target, None, await self._find_copy(target.digest))
        if await has_quota(self._catalog, target.repository):
            return await self._put_within_quota(feed, target)
        phys, hasher = await self._store.new_upload(), Hasher(target.digest.algorithm)
        try:
            await self._store.append(phys, 0, feed, on_chunk=hasher.update)
            self._check_whole(feed, hasher.digest(), target)
            return await self._commit(phys, hasher.size, target, None)
        except _BytesGone as error:
            raise error.cause from error.cause.__cause__
        except BaseException:
            await self._abort(phys)
            raise

    async def _put_within_quota(self, feed: Feed, target: _Target) -> StoredBlob:
        """By way of an upload, whose row holds the room for the bytes while they come."""
        begun = await self.start(
            target.repository, actor=target.actor, permit=target.permit, algorithm=target.digest.algorithm
        )
        try:
            return await self._finish(begun.id, feed, 0, target)
        except BaseException:
            with contextlib.suppress(EntrepotError):
                await self.cancel(target.repository, begun.id)
            raise

    def _check_whole(self, feed: Feed, found: Digest, target: _Target) -> None:
        if feed.too_large:
            raise BlobTooLarge(self._limits.blob_bytes)
        _raise_failure(feed, 0)
        if feed.stopped:
            raise SizeInvalid(feed.expected or 0, feed.received)
        if found != target.digest:
            raise DigestMismatch(target.digest, found)

    async def _commit(self, phys: str, size: int, target: _Target, held: Claimed | None) -> StoredBlob:
        """Verified bytes become the blob; bytes that a good copy makes superfluous are thrown away.

        Raises _BytesGone for errors after which the upload's bytes are not there any more.
        """
        copy = await self._find_copy(target.digest)
        shared, distrusted = await self._shared(target, size, _hold(held), copy)
        if shared is not None:
            await self._abort(phys)
            return shared
        try:
            blob_phys = (
                await self._store.commit(phys, target.digest, size)
                if size
                else await self._store.put(target.digest, b"")
            )
        except UploadShort:
            raise
        except StoredBytesDiffer as error:
            mismatch = DigestMismatch(target.digest, "another one on disk")
            mismatch.__cause__ = error
            raise _BytesGone(mismatch) from error
        except StorageFailed as error:
            raise _BytesGone(error) from error
        if not size:
            await self._abort(phys)
        try:
            return await self._adopt(blob_phys, size, target, _hold(held), distrusted)
        except EntrepotError as error:
            raise _BytesGone(error) from error

    async def _commit_whole(
        self, feed: Feed, target: _Target, held: _Hold | None, copy: _Copy | None
    ) -> StoredBlob:
        """Bytes that all come with this request become the blob, without an upload file."""
        data = b"".join([bytes(chunk) async for chunk in feed])
        self._check_whole(feed, Digest.of(data, target.digest.algorithm), target)
        shared, distrusted = await self._shared(target, len(data), held, copy)
        if shared is not None:
            return shared
        phys = await self._store.put(target.digest, data)
        return await self._adopt(phys, len(data), target, held, distrusted)

    async def _shared(
        self, target: _Target, size: int, held: _Hold | None, copy: _Copy | None
    ) -> tuple[StoredBlob | None, str | None]:
        """Link the copy that is there, if it is good; else the physical name that must not be trusted."""
        if copy is None or copy[2] != "live":
            return None, None
        phys, known_size, _ = copy
        if known_size != size or await self._store.size(phys) != size:
            return None, phys
        try:
            return await self._record("", size, target, held, None), None
        except CopyGone:
            return None, None

    async def _adopt(
        self, phys: str, size: int, target: _Target, held: _Hold | None, distrusted: str | None
    ) -> StoredBlob:
        """Record durable bytes. When that fails for certain they are removed again, which is not so when this
        is cancelled: the transaction may go on.
        """
        try:
            return await self._record(phys, size, target, held, distrusted)
        except Exception as error:
            if not getattr(error, "outcome_unknown", False):
                with contextlib.suppress(StorageFailed):
                    await self._store.delete(phys)
            raise

    async def _record(
        self, phys: str, size: int, target: _Target, held: _Hold | None, distrusted: str | None
    ) -> StoredBlob:
        steady = self._clock.steady()
        end = Finish(
            repository=target.repository,
            stored=StoredBytes(str(target.digest), size, phys),
            upload=held.upload if held else None,
            claim=held.claim if held else None,
            distrusted=distrusted,
            actor=target.actor,
            permit=target.permit,
            now=self._clock.now(),
            steady=steady,
            lease_until=steady + microseconds(self._limits.lease_s),
            trash_delay=microseconds(self._limits.trash_delay_s),
        )
        live, repo_id, project_id = await self._catalog.write(finish_upload, end, brief=True)
        return StoredBlob(target.digest, size, live, end.lease_until, repo_id, project_id)


def _nothing(connection: Connection) -> None:
    """A durable call that changes nothing waits for all that was committed before it."""


class _BytesGone(Exception):
    """An error after which the bytes of the upload are not there any more."""

    def __init__(self, cause: EntrepotError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _raise_failure(feed: Feed, offset: int) -> None:
    """Tell why the body was not what it should have been, now that what arrived is noted."""
    if feed.failure is not None:
        raise feed.failure
    if feed.stopped:
        return  # the caller is being cancelled and hears of that
    if feed.too_long or feed.is_short:
        raise SizeInvalid(feed.expected or 0, feed.received + feed.too_long, offset=offset)
