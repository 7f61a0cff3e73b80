"""Brings back blobs whose bytes were lost: from where they should be, when they are there again (a disk was
not mounted, a bucket not to be reached); from an older copy in the store's own trash, another registry, or a
backup.

What comes is verified by size and digest before it is stored, durable, under a new physical name; the row
then changes in one transaction, which checks that the blob is still wanted. The damaged copy goes to the
trash.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection, select

from entrepot.client.credentials import Credential, OneCredential
from entrepot.client.hosts import RegistrySettings
from entrepot.client.registry import Registry
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import BlobStream
from entrepot.errors import EntrepotError, InvalidInput, NotFound
from entrepot.observability.logs import get_log
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.server.backup.archive import BackupArchive
from entrepot.server.backup.blob_copy import read_verified, store_verified
from entrepot.server.backup.encryption import BackupKey
from entrepot.server.backup.places import open_place
from entrepot.server.config.model import RepairSource
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.tables import trash
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.integrity.lost_blobs import Lost, put_back, put_into_service
from entrepot.server.upkeep.integrity.read_rate import ByteRate

__all__ = ["Mender", "NothingHere", "open_sources"]

log = get_log(__name__)

PIECE_BYTES: Final = 1 << 20
MOST_COPIES: Final = 5
THERE_AGAIN: Final = "the store itself"
_OCTETS: Final = "application/octet-stream"


class NothingHere(NotFound):
    """A place that is asked for a lost blob does not have it."""

    code: ClassVar[str] = "repair-nothing-here"


class BlobSource(Protocol):
    """A place that may have a blob's bytes."""

    @property
    def name(self) -> str:
        """As reports say it; no secrets."""
        ...

    def fetch(self, lost: Lost) -> AsyncGenerator[bytes, None]:
        """The bytes, not verified. Raises EntrepotError when it has none or can't be asked."""
        ...


class Mender:
    """See `upkeep.integrity.lost_blobs.Mend`."""

    def __init__(
        self, catalog: Catalog, store: BlobStore, sources: Sequence[BlobSource], *, trash_delay_s: float
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._sources = (TrashSource(catalog, store), *sources)
        self._trash_delay = microseconds(trash_delay_s)

    async def __call__(self, lost: Lost, rate: ByteRate | None = None) -> str | None:
        digest = Digest.parse(lost.digest)
        if await holds_right_bytes(self._store, digest, lost.phys, lost.size, rate):
            if await self._catalog.write(put_into_service, lost, THERE_AGAIN, self._catalog.clock.now()):
                log.warning("blob repaired", digest=lost.digest, source=THERE_AGAIN)
                return THERE_AGAIN
            return None  # it was pushed again meanwhile
        for source in self._sources:
            if await self._mend_from(source, lost):
                log.warning("blob repaired", digest=lost.digest, source=source.name)
                return source.name
        return None

    async def _mend_from(self, source: BlobSource, lost: Lost) -> bool:
        digest = Digest.parse(lost.digest)
        try:
            async with aclosing(source.fetch(lost)) as pieces:
                phys = await store_verified(self._store, digest, lost.size, pieces)
        except EntrepotError as error:
            log.info("no repair", digest=lost.digest, source=source.name, reason=error.message)
            return False
        clock = self._catalog.clock
        try:
            return await self._catalog.write(
                put_back, lost, phys, source.name, clock.now(), clock.steady(), self._trash_delay
            )
        except Exception as error:  # when it is cancelled the row may come yet
            if not getattr(error, "outcome_unknown", False):
                await self._forget(phys)
            raise

    async def _forget(self, phys: str) -> None:
        """Remove a copy that no row names."""
        try:
            await self._store.delete(phys)
        except StorageFailed as error:
            log.warning("leftover blob", phys=phys, reason=error.message)


class TrashSource:
    """Copies of the same digest that wait to be unlinked."""

    name = "the trash"

    def __init__(self, catalog: Catalog, store: BlobStore) -> None:
        self._catalog = catalog
        self._store = store

    async def fetch(self, lost: Lost) -> AsyncGenerator[bytes, None]:
        digest = Digest.parse(lost.digest)
        for phys in await self._catalog.read(_copies, lost):
            if await holds_right_bytes(self._store, digest, phys, lost.size):
                async with aclosing(await self._store.open(phys, 0, lost.size)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
        raise NothingHere(f"no right copy of {lost.digest} is in the trash")


async def holds_right_bytes(
    store: BlobStore, digest: Digest, phys: str, size: int, rate: ByteRate | None = None
) -> bool:
    """Whether what is stored under `phys` is the whole blob; False too when the store can't tell."""
    try:
        if await store.size(phys) != size:
            return False
        async with aclosing(read_verified(store, digest, phys, size)) as pieces:
            async for piece in pieces:
                if rate is not None:
                    await rate.spend(len(piece))
    except EntrepotError:
        return False
    return True


def _copies(connection: Connection, lost: Lost) -> list[str]:
    statement = (
        select(trash.c.phys)
        .where(trash.c.digest == lost.digest, trash.c.phys != lost.phys)
        .order_by(trash.c.trashed_at.desc())
        .limit(MOST_COPIES)
    )
    return list(connection.execute(statement).scalars())


@dataclass(frozen=True, slots=True)
class RegistrySource:
    """Another registry that has the same repositories, below a prefix where there is one."""

    settings: RepairSource

    @property
    def name(self) -> str:
        return self.settings.url

    async def fetch(self, lost: Lost) -> AsyncGenerator[bytes, None]:
        """The client is synchronous: it runs in threads."""
        registry = await asyncio.to_thread(self._open)
        try:
            stream = await asyncio.to_thread(self._find, registry, lost)
            try:
                while piece := await asyncio.to_thread(stream.read, PIECE_BYTES):
                    yield piece
            finally:
                await asyncio.to_thread(stream.close)
        finally:
            await asyncio.to_thread(registry.close)

    def _open(self) -> Registry:
        wanted, url = self.settings, urlsplit(self.settings.url)
        credential = None
        if wanted.username:
            credential = Credential(username=wanted.username, password=str(wanted.password))
        client = ClientSettings.load(os.environ)
        if url.scheme == "http":
            plain = {**client.registries, url.netloc: RegistrySettings(plain_http=True)}
            client = msgspec.structs.replace(client, registries=plain)
        return Registry(url.netloc, settings=client, credentials=OneCredential(credential))

    def _find(self, registry: Registry, lost: Lost) -> BlobStream:
        descriptor = Descriptor(_OCTETS, Digest.parse(lost.digest), lost.size)
        prefix = urlsplit(self.settings.url).path.strip("/")
        failure: EntrepotError = NothingHere(f"no repository here shows {lost.digest}")
        for name in lost.repositories:
            try:
                there = registry.repository(f"{prefix}/{name}" if prefix else name)
                return there.open_blob(descriptor)
            except EntrepotError as error:
                failure = error
        raise failure


@dataclass(frozen=True, slots=True)
class BackupSource:
    """What `entrepot admin backup` has put into a folder or bucket."""

    settings: RepairSource

    @property
    def name(self) -> str:
        return self.settings.url

    async def fetch(self, lost: Lost) -> AsyncGenerator[bytes, None]:
        wanted = self.settings
        place = open_place(
            wanted.url,
            create=False,
            endpoint=wanted.endpoint,
            region=wanted.region,
            access_key_id=wanted.access_key_id,
            secret_access_key=str(wanted.secret_access_key),
            allow_http=wanted.allow_http,
        )
        try:
            key = None if wanted.key_file is None else BackupKey.load(wanted.key_file)
            archive = await BackupArchive.open(place, key)
            async for piece in archive.get_blob(Digest.parse(lost.digest)):
                yield piece
        finally:
            await place.close()


def open_sources(settings: Sequence[RepairSource]) -> tuple[BlobSource, ...]:
    """`[[repair.sources]]`, in their order. Raises InvalidInput for a URL of another kind."""
    return tuple(map(_open_source, settings))


def _open_source(settings: RepairSource) -> BlobSource:
    scheme = urlsplit(settings.url).scheme
    if scheme in {"http", "https"}:
        return RegistrySource(settings)
    if scheme in {"s3", "gs", "az"} or (not scheme and settings.url):
        return BackupSource(settings)
    raise InvalidInput(
        f"repair.sources: {settings.url!r} is neither a registry nor a backup",
        hint="write https://registry.example.org, s3://bucket/prefix or the path of a folder",
    )
