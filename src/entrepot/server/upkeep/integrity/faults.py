"""What is wrong with the bytes of a blob, if anything."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from entrepot.errors import VerificationFailed
from entrepot.oci.digest import Digest, Hasher
from entrepot.server.storage.errors import BlobMissing, BlobUnreadable, InvalidKey
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.integrity.read_rate import ByteRate
from entrepot.server.upkeep.integrity.sure_store import ensure_it_stores

__all__ = ["Fault", "examine", "find_fault"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Bytes that are gone or wrong."""

    state: Literal["missing", "quarantined"]
    """What the blob's row becomes."""
    reason: str


async def find_fault(
    store: BlobStore,
    digest: str,
    phys: str,
    size: int,
    *,
    deep: bool = True,
    rate: ByteRate | None = None,
    surely: bool = True,
) -> Fault | None:
    """None when the bytes are right; without `deep` they are not read, only their size is asked for.

    `surely`: the fault of a blob that can't be read is only told when the disk works otherwise; for who will
    take it out of service. Raises StorageFailed when it can't tell.
    """
    try:
        return await (examine(store, digest, phys, size, rate) if deep else _missized(store, phys, size))
    except BlobUnreadable as error:
        if surely:
            await ensure_it_stores(store)
        return Fault("quarantined", f"it can't be read: {error.reason}")


async def examine(
    store: BlobStore, digest: str, phys: str, size: int, rate: ByteRate | None = None
) -> Fault | None:
    """As `find_fault`, but raises BlobUnreadable for what can't be read: a bad sector, or a disk that has
    gone.
    """
    wanted = Digest.parse(digest)
    hasher = Hasher(wanted.algorithm)
    try:
        fault = await _missized(store, phys, size)
        if fault is not None:
            return fault
        async with aclosing(await store.open(phys, 0, size)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(hasher.update, piece)
                if rate is not None:
                    await rate.spend(len(piece))
    except (BlobMissing, InvalidKey) as error:
        return Fault("missing", error.message)
    except VerificationFailed as error:
        return Fault("quarantined", error.message)
    if hasher.digest() != wanted:
        return Fault("quarantined", f"its bytes have the digest {hasher.digest()}")
    return None


async def _missized(store: BlobStore, phys: str, size: int) -> Fault | None:
    stored = await store.size(phys)
    if stored is None:
        return Fault("missing", "there is no such file")
    if stored != size:
        return Fault("quarantined", f"it has {stored} bytes instead of {size}")
    return None
