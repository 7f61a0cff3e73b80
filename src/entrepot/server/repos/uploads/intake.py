"""A request's body on its way into the upload that it has claimed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable
from dataclasses import replace

from entrepot.errors import EntrepotError
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock, boot_id
from entrepot.server.repos.errors import BlobTooLarge, QuotaExceeded, RangeInvalid
from entrepot.server.repos.limits import RepositoryLimits
from entrepot.server.repos.room import has_quota
from entrepot.server.repos.uploads.claims import Claims
from entrepot.server.repos.uploads.feed import Feed
from entrepot.server.repos.uploads.hashes import Hashes
from entrepot.server.repos.uploads.room import within_quota
from entrepot.server.repos.uploads.rows import Claimed, UploadRow
from entrepot.server.storage.driver import Chunk
from entrepot.server.storage.errors import StorageFailed, UploadShort
from entrepot.server.storage.store import BlobStore

__all__ = ["Intake"]


class Intake:
    """Bodies of this process's requests."""

    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        limits: RepositoryLimits,
        clock: Clock,
        claims: Claims,
        hashes: Hashes,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._store = store
        self._limits = limits
        self._claims = claims
        self._hashes = hashes

    async def receive(
        self, repository: str, held: Claimed, feed: Feed, expected_start: int | None
    ) -> UploadRow:
        """Take the body into the store. Returns the row as it has to become; on an error the claim is given
        back.

        Raises RangeInvalid, BlobTooLarge, QuotaExceeded, StorageFailed. What ended the body early is left in
        the feed.
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
            await self._claims.shorten(held, error.stored)
            raise RangeInvalid(row.id, error.stored, row.offset) from error
        except StorageFailed:
            self._hashes.forget(row.id)
            with contextlib.suppress(EntrepotError):
                await self._claims.give_back(held, await self._store.upload_size(row.phys), None)
            raise
        except BaseException:
            await self._claims.give_back_unchanged(held)
            raise
        if feed.too_large:
            await self._claims.drop(repository, row)
            raise BlobTooLarge(self._limits.blob_bytes)
        if isinstance(feed.failure, QuotaExceeded):
            await self._claims.drop(repository, row)  # kept, it would take from others what it can't use
            raise feed.failure
        return row

    async def _store_body(self, repository: str, held: Claimed, feed: Feed) -> UploadRow:
        row = held.row
        body: AsyncIterable[Chunk] = feed
        if await has_quota(self._catalog, repository):
            body = within_quota(
                self._catalog, self._clock, feed, upload_id=row.id, claim=held.claim, offset=row.offset
            )
        async with self._claims.kept(held, feed):
            hasher = await self._hashes.take(row, row.algorithm)
            stored = await self._store.append(row.phys, row.offset, body, on_chunk=hasher.update)
        offset = row.offset + stored
        if hasher.size != offset:
            raise StorageFailed(f"upload {row.id}: {stored} bytes stored, {hasher.size - row.offset} hashed")
        self._hashes.remember(row.id, row.phys, hasher)
        return replace(row, offset=offset, digest_so_far=str(hasher.digest()), boot_id=boot_id())
