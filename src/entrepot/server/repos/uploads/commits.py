"""Bytes that are whole become a blob of a repository.

They are durable in the store first; then one transaction makes the row, the link, the lease and the end of
the upload. Where the bytes are there already, in a copy that can be trusted, that copy is linked instead.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from entrepot.errors import EntrepotError
from entrepot.oci.digest import Digest
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Permit
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock, microseconds
from entrepot.server.db.statements import HotQuery
from entrepot.server.db.tables import blob
from entrepot.server.repos.blobs import StoredBlob
from entrepot.server.repos.errors import BlobTooLarge, ContentMismatch, SizeInvalid
from entrepot.server.repos.limits import RepositoryLimits
from entrepot.server.repos.links import StoredBytes
from entrepot.server.repos.uploads.discard import discard
from entrepot.server.repos.uploads.feed import Feed
from entrepot.server.repos.uploads.rows import CopyGone, Finish, finish_upload
from entrepot.server.storage.errors import StorageFailed, StoredBytesDiffer, UploadShort
from entrepot.server.storage.store import BlobStore

__all__ = ["BytesGone", "Commits", "Hold", "Target"]

_COPY = HotQuery(select(blob.c.phys, blob.c.size, blob.c.state).where(blob.c.digest == bindparam("digest")))


@dataclass(frozen=True, slots=True)
class Target:
    """Where finished bytes go, and who says so."""

    repository: str
    digest: Digest
    actor: Actor
    permit: Permit


@dataclass(frozen=True, slots=True)
class Hold:
    """The upload that ends with a blob."""

    upload: str
    claim: str | None
    """None: nobody has written to it, and nobody holds it."""


class BytesGone(Exception):
    """An error after which the bytes of the upload are not there any more."""

    def __init__(self, cause: EntrepotError) -> None:
        super().__init__(str(cause))
        self.cause = cause


_Copy = tuple[str, int, str]
"""Physical name, size and state of a blob's row."""


class Commits:
    """Ends of uploads. Without a `Hold` the bytes came without one."""

    def __init__(self, catalog: Catalog, store: BlobStore, limits: RepositoryLimits, clock: Clock) -> None:
        self._catalog = catalog
        self._store = store
        self._limits = limits
        self._clock = clock

    async def stored(self, phys: str, size: int, target: Target, held: Hold | None) -> StoredBlob:
        """An upload's verified bytes become the blob; bytes that a good copy makes superfluous are thrown
        away.

        Raises UploadShort, and BytesGone for errors after which the upload's bytes are not there any more.
        """
        copy = await self._find_copy(target.digest)
        shared, distrusted = await self._shared(target, size, held, copy)
        if shared is not None:
            await discard(self._store, phys)
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
            mismatch = ContentMismatch(target.digest, "another one on disk")
            mismatch.__cause__ = error
            raise BytesGone(mismatch) from error
        except StorageFailed as error:
            raise BytesGone(error) from error
        if not size:
            await discard(self._store, phys)
        try:
            return await self._adopt(blob_phys, size, target, held, distrusted)
        except EntrepotError as error:
            raise BytesGone(error) from error

    async def whole(self, feed: Feed, target: Target, held: Hold | None) -> StoredBlob:
        """Bytes that all come with this request become the blob, without an upload file."""
        copy = await self._find_copy(target.digest)
        data = b"".join([bytes(chunk) async for chunk in feed])
        self.check_whole(feed, Digest.of(data, target.digest.algorithm), target)
        shared, distrusted = await self._shared(target, len(data), held, copy)
        if shared is not None:
            return shared
        phys = await self._store.put(target.digest, data)
        return await self._adopt(phys, len(data), target, held, distrusted)

    def check_whole(self, feed: Feed, found: Digest, target: Target) -> None:
        """Raise when the body was not what it should have been."""
        if feed.too_large:
            raise BlobTooLarge(self._limits.blob_bytes)
        feed.raise_failure(0)
        if feed.stopped:
            raise SizeInvalid(feed.expected or 0, feed.received)
        if found != target.digest:
            raise ContentMismatch(target.digest, found)

    async def _find_copy(self, digest: Digest) -> _Copy | None:
        rows = await self._catalog.hot(_COPY, digest=str(digest))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    async def _shared(
        self, target: Target, size: int, held: Hold | None, copy: _Copy | None
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
        self, phys: str, size: int, target: Target, held: Hold | None, distrusted: str | None
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
        self, phys: str, size: int, target: Target, held: Hold | None, distrusted: str | None
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
        live = await self._catalog.write(finish_upload, end, brief=True)
        return StoredBlob(target.digest, size, live, end.lease_until)
