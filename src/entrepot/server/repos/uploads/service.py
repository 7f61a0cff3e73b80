"""What a registry does with uploads; see the package for the way of one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sqlalchemy import Connection, bindparam, select

from entrepot.errors import EntrepotError
from entrepot.oci.digest import Digest, Hasher
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Permit, allow_all
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock, microseconds
from entrepot.server.db.statements import HotQuery
from entrepot.server.db.tables import repo, upload, upload_begun
from entrepot.server.repos.blobs import Blobs, StoredBlob
from entrepot.server.repos.errors import BlobTooLarge, ContentMismatch, RangeInvalid, UploadUnknown
from entrepot.server.repos.limits import DEFAULT_LIMITS, RepositoryLimits
from entrepot.server.repos.room import has_quota
from entrepot.server.repos.rows import refuse_push_to_proxy
from entrepot.server.repos.uploads.claims import Claims
from entrepot.server.repos.uploads.commits import BytesGone, Commits, Hold, Target
from entrepot.server.repos.uploads.discard import discard
from entrepot.server.repos.uploads.feed import Feed, uninterrupted
from entrepot.server.repos.uploads.hashes import Hashes
from entrepot.server.repos.uploads.ids import Fresh, UploadNames
from entrepot.server.repos.uploads.intake import Intake
from entrepot.server.repos.uploads.rows import Claimed, drop_upload, forget_begun, make_repository
from entrepot.server.storage.driver import Chunk
from entrepot.server.storage.errors import UploadShort
from entrepot.server.storage.store import BlobStore

__all__ = ["RepositoryUploads", "Upload"]

WHOLE_BYTES: Final = 64 * 1024
"""A blob up to this size that comes in one request is stored at once, without an upload file."""
FORGOTTEN_AT_ONCE: Final = 5_000
"""Marks dropped in one transaction."""

_STATUS = HotQuery(
    select(upload.c.offset, upload.c.algorithm, upload.c.expires_at)
    .select_from(upload)
    .join(repo, repo.c.id == upload.c.repo_id)
    .where(
        upload.c.id == bindparam("id"), repo.c.name == bindparam("repository"), repo.c.deleted_at.is_(None)
    )
)
_REPOSITORY = HotQuery(
    select(repo.c.proxied).where(repo.c.name == bindparam("name"), repo.c.deleted_at.is_(None))
)
_BEGUN = HotQuery(select(upload_begun.c.id).where(upload_begun.c.id == bindparam("id")))


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as its client sees it."""

    id: str
    offset: int
    """Bytes received; the next chunk starts here."""
    algorithm: str = "sha256"


class RepositoryUploads:
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
        self._names = UploadNames(catalog, self._clock, limits)
        self._hashes = Hashes(store)
        self._claims = Claims(catalog, store, limits, self._clock, self._names, self._hashes)
        self._intake = Intake(catalog, store, limits, self._clock, self._claims, self._hashes)
        self._commits = Commits(catalog, store, limits, self._clock)
        self._since = self._clock.steady()

    async def start(
        self, repository: str, *, actor: Actor, permit: Permit = allow_all, algorithm: str = "sha256"
    ) -> Upload:
        """Begin an upload; the repository is made if it is not there. Raises Denied, InvalidDigest,
        ProxyTakesNoPush.
        """
        Hasher(algorithm)  # refuses an algorithm it does not know
        there = await self._catalog.hot(_REPOSITORY, name=repository)
        if there:
            refuse_push_to_proxy(repository, actor, proxied=bool(there[0][0]))
        else:
            now = self._clock.now()
            await self._catalog.write(
                make_repository, repository, actor, permit, now, durable=False, brief=True
            )
        return Upload(await self._names.new(repository, algorithm), 0, algorithm)

    async def status(self, repository: str, upload_id: str) -> Upload:
        """How far an upload has come. Raises UploadUnknown."""
        rows = await self._catalog.hot(_STATUS, id=upload_id, repository=repository)
        if rows and rows[0][2] > self._clock.steady():
            return Upload(upload_id, rows[0][0], rows[0][1])
        fresh = None if rows else await self._names.read(repository, upload_id)
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
        Raises UploadUnknown, UploadBusy, RangeInvalid, SizeInvalid, BlobTooLarge, TooManyUploads,
        StorageFailed, and what `chunks` raises.
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
        target = Target(repository, digest, actor, permit)
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
        return await uninterrupted(self._put(feed, Target(repository, digest, actor, permit)), feed)

    async def adopt(
        self,
        repository: str,
        phys: str,
        size: int,
        digest: Digest,
        *,
        actor: Actor,
        permit: Permit = allow_all,
    ) -> StoredBlob:
        """Make bytes that the store holds as an upload, and whose digest the caller has found, a blob of the
        repository; durable when this returns. After an error they are gone.

        Raises QuotaExceeded, Denied, StorageFailed, UploadShort.
        """
        target = Target(repository, digest, actor, permit)
        try:
            return await uninterrupted(self._commits.stored(phys, size, target, None))
        except BytesGone as error:
            raise error.cause from error.cause.__cause__

    async def cancel(self, repository: str, upload_id: str) -> None:
        """Forget an upload and its bytes; a request that writes to it fails. Raises UploadUnknown."""
        fresh = await self._names.read(repository, upload_id) is not None
        drop = partial(drop_upload, fresh=fresh)
        phys = await self._catalog.write(drop, repository, upload_id, durable=False, brief=True)
        self._hashes.forget(upload_id)
        if phys is None:
            raise UploadUnknown(upload_id)
        if phys:
            await discard(self._store, phys)

    async def forget_begun(self) -> int:
        """Drop the marks of uploads whose names are too old to be used again; returns how many."""
        before = self._clock.steady() - 2 * microseconds(self._limits.upload_ttl_s)
        forgotten = 0
        while found := await self._catalog.write(forget_begun, before, FORGOTTEN_AT_ONCE, durable=False):
            forgotten += found
        return forgotten

    async def _append(
        self, repository: str, upload_id: str, feed: Feed, expected_start: int | None, actor: Actor | None
    ) -> Upload:
        held = await self._claims.take(repository, upload_id, actor)
        row = await self._intake.receive(repository, held, feed, expected_start)
        await self._claims.give_back(held, row.offset, self._hashes.so_far(row))
        feed.raise_failure(row.offset)
        return Upload(upload_id, row.offset, row.algorithm)

    async def _finish(
        self, upload_id: str, feed: Feed, expected_start: int | None, target: Target
    ) -> StoredBlob:
        try:
            small = not expected_start and feed.expected is not None and feed.expected <= WHOLE_BYTES
            fresh = await self._names.read(target.repository, upload_id) if small else None
            if fresh is not None and not await self._catalog.hot(_BEGUN, id=upload_id):
                # A small blob needs no row: its only transaction is the last one, which finds out whether it
                # is still true that nobody has written to the upload.
                if not feed.expected and self._has_lost(fresh, target.digest):
                    raise UploadUnknown(upload_id)
                return await self._commits.whole(feed, target, Hold(upload_id, None))
            held = await self._claims.take(target.repository, upload_id, target.actor)
        except UploadUnknown:
            found = await self._finished_before(target)
            if found is None:
                raise
            return found
        if held.row.offset == 0 and feed.expected is not None and feed.expected <= WHOLE_BYTES:
            return await self._finish_whole(held, feed, expected_start or 0, target)
        row = await self._intake.receive(target.repository, held, feed, expected_start)
        if feed.failure or feed.stopped or feed.is_short or feed.too_long:
            await self._claims.give_back(held, row.offset, self._hashes.so_far(row))
            feed.raise_failure(row.offset)
            raise UploadUnknown(upload_id)
        return await self._finish_received(replace(held, row=row), feed, target)

    async def _finished_before(self, target: Target) -> StoredBlob | None:
        """The blob, when the answer to an earlier request seems to have been lost."""
        found = await self._blobs.find(target.repository, target.digest)
        if found is None or not await self._blobs.renew_lease(found):
            return None
        await self._catalog.write(_nothing, brief=True)  # what was just seen is on the disk as well
        return found

    async def _finish_received(self, held: Claimed, feed: Feed, target: Target) -> StoredBlob:
        """All bytes are in the store, and the row says how many."""
        row = held.row
        try:
            # Reading a large upload back, or joining it, takes long.
            async with self._claims.kept(held, feed):
                found_digest = await self._hashes.digest(row, target.digest.algorithm)
                if found_digest != target.digest:
                    raise ContentMismatch(target.digest, found_digest)
                stored = await self._commits.stored(row.phys, row.offset, target, Hold(row.id, held.claim))
        except UploadShort as error:
            await self._claims.shorten(held, error.stored)
            raise RangeInvalid(row.id, error.stored, row.offset) from error
        except BytesGone as error:
            with contextlib.suppress(EntrepotError):
                await self._claims.drop(target.repository, row)
            raise error.cause from error.cause.__cause__
        except BaseException:
            await self._claims.give_back_unchanged(held)
            raise
        self._hashes.forget(row.id)
        return stored

    async def _finish_whole(
        self, held: Claimed, feed: Feed, expected_start: int, target: Target
    ) -> StoredBlob:
        """A small blob whose only bytes come with the last request needs no upload file."""
        try:
            if expected_start != 0:
                raise RangeInvalid(held.row.id, 0, expected_start)
            return await self._commits.whole(feed, target, Hold(held.row.id, held.claim))
        except BaseException:
            await self._claims.give_back_unchanged(held)
            raise

    def _has_lost(self, fresh: Fresh, digest: Digest) -> bool:
        """Whether an upload that seems to be empty, and is to end with `digest`, had bytes before a power
        cut: its row and its mark are not waited for, so both may be gone.
        """
        return fresh.started_at < self._since and digest != Digest.of(b"", digest.algorithm)

    async def _put(self, feed: Feed, target: Target) -> StoredBlob:
        if (feed.expected or 0) > self._limits.blob_bytes:
            raise BlobTooLarge(self._limits.blob_bytes)
        if feed.expected is not None and feed.expected <= WHOLE_BYTES:
            return await self._commits.whole(feed, target, None)
        if await has_quota(self._catalog, target.repository):
            return await self._put_within_quota(feed, target)
        phys, hasher = await self._store.new_upload(), Hasher(target.digest.algorithm)
        try:
            await self._store.append(phys, 0, feed, on_chunk=hasher.update)
            self._commits.check_whole(feed, hasher.digest(), target)
            return await self._commits.stored(phys, hasher.size, target, None)
        except BytesGone as error:
            raise error.cause from error.cause.__cause__
        except BaseException:
            await discard(self._store, phys)
            raise

    async def _put_within_quota(self, feed: Feed, target: Target) -> StoredBlob:
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


def _nothing(connection: Connection) -> None:
    """A durable call that changes nothing waits for all that was committed before it."""
