"""One request's hold on an upload.

A request claims the row, and only then believes the offset that the row names. Its end, whatever the reason,
records how far the bytes go and gives the claim back in one statement; who has lost the claim records
nothing. A process whose claim ran out while it may still be writing is left behind with the old file: the
next request copies what was recorded and goes on in a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Final

from entrepot.oci.digest import Digest, Hasher
from entrepot.server.access.decision.actor import Actor
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock, boot_id, microseconds
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.repos.errors import RangeInvalid, UploadBusy, UploadUnknown
from entrepot.server.repos.limits import RepositoryLimits
from entrepot.server.repos.uploads.discard import discard
from entrepot.server.repos.uploads.feed import Feed
from entrepot.server.repos.uploads.hashes import Hashes
from entrepot.server.repos.uploads.holder import is_dead, new_claim
from entrepot.server.repos.uploads.ids import UploadNames
from entrepot.server.repos.uploads.rows import (
    Claimed,
    NewUpload,
    Progress,
    UploadRow,
    Wish,
    claim_upload,
    drop_upload,
    keep_claim,
    move_upload,
    record_progress,
)
from entrepot.server.storage.errors import UploadShort
from entrepot.server.storage.store import BlobStore

__all__ = ["Claims"]

UNCOUNTED: Final = frozenset({"open", "system"})
"""Kinds of actors whose uploads are not limited in number: everybody is the same one."""


class Claims:
    """Claims of this process's requests."""

    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        limits: RepositoryLimits,
        clock: Clock,
        names: UploadNames,
        hashes: Hashes,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._limits = limits
        self._clock = clock
        self._names = names
        self._hashes = hashes

    async def take(self, repository: str, upload_id: str, actor: Actor | None) -> Claimed:
        """The upload as it is, this request's alone from now on. Raises UploadUnknown, UploadBusy,
        TooManyUploads, RangeInvalid, StorageFailed.
        """
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

    async def give_back(
        self, held: Claimed, offset: int, digest_so_far: Digest | None, boot: str | None = None
    ) -> None:
        """Record how far the bytes go, and in which boot that was found. Raises UploadUnknown when the claim
        is lost.
        """
        await self._catalog.write(
            record_progress,
            Progress(
                upload=held.row.id,
                claim=held.claim,
                offset=offset,
                digest_so_far=None if digest_so_far is None else str(digest_so_far),
                boot=boot or boot_id(),
                expires_at=self._clock.steady() + microseconds(self._limits.upload_ttl_s),
            ),
            durable=False,
            brief=True,
        )

    async def give_back_unchanged(self, held: Claimed) -> None:
        """Nothing has happened to the upload."""
        row = held.row
        so_far = Digest.parse(row.digest_so_far) if row.digest_so_far else None
        with contextlib.suppress(UploadUnknown, CatalogUnavailable):  # then the claim runs out by itself
            await self.give_back(held, row.offset, so_far, row.boot_id)

    async def shorten(self, held: Claimed, stored: int) -> None:
        """The store holds less than the row says: that is the truth now."""
        self._hashes.forget(held.row.id)
        await self.give_back(held, stored, None)

    async def drop(self, repository: str, row: UploadRow) -> None:
        """Forget an upload and its bytes, claim and all."""
        self._hashes.forget(row.id)
        drop = partial(drop_upload, fresh=False)
        await self._catalog.write(drop, repository, row.id, durable=False, brief=True)
        await discard(self._store, row.phys)

    @contextlib.asynccontextmanager
    async def kept(self, held: Claimed, feed: Feed) -> AsyncIterator[None]:
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

    async def _new_row(self, repository: str, upload_id: str, actor: Actor | None) -> NewUpload | None:
        """The row to make for an upload if it has none."""
        fresh = await self._names.read(repository, upload_id)
        if fresh is None:
            return None
        return NewUpload(
            phys=await self._store.new_upload(),
            algorithm=fresh.algorithm,
            boot=boot_id(),
            principal=actor.name if actor else "",
            started_at=fresh.started_at,
            expires_at=self._clock.steady() + microseconds(self._limits.upload_ttl_s),
        )

    async def _leave_behind(self, held: Claimed) -> Claimed:
        """Copy what was recorded to a new file; whoever still writes to the old one harms nobody."""
        old, offset = held.row, held.row.offset
        self._hashes.forget(old.id)
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
            await self.shorten(held, error.stored)
            raise RangeInvalid(old.id, error.stored, offset) from error
        await discard(self._store, old.phys)
        self._hashes.remember(old.id, phys, hasher)
        row = replace(old, phys=phys, digest_so_far=None, boot_id=boot_id(), claim=held.claim)
        return Claimed(row, held.claim, left_by_the_living=False)
