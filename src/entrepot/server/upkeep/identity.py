"""Catalog and store belong together: both carry the same random id and epoch, compared at every start.

A catalog beside somebody else's blobs, or one that is older than its store, must not be served: garbage
collection would take blobs that the right catalog still needs.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import ClassVar, Final

from entrepot.errors import Conflict
from entrepot.observability.logs import get_log
from entrepot.server.db import Catalog
from entrepot.server.db.settings import CatalogIdentity, get_identity, keep_identity
from entrepot.server.storage.errors import RETRY_AFTER_S, StorageFailed
from entrepot.server.storage.store import BlobStore, StoreIdentity

log = get_log(__name__)

START_PATIENCE_S: Final = 10.0
"""How long a start waits for a store before it goes on without."""


class IdentityMismatch(Conflict):
    """The catalog and the blobs are not each other's."""

    code: ClassVar[str] = "identity-mismatch"


async def bind_identity(catalog: Catalog, store: BlobStore) -> CatalogIdentity:
    """Check that they belong together; new ones are bound to each other. Raises IdentityMismatch."""
    # In this order: a node that begins at the same time binds the catalog before it marks the store.
    marked, known = await store.read_identity(), await catalog.read(get_identity)
    if known is None:
        if marked is not None:
            raise IdentityMismatch(
                f"the catalog is new, but the blobs belong to catalog {marked.store_id}",
                hint="point catalog.url and storage.url at a pair, or restore the catalog from a backup; "
                "where there is none: entrepot admin rebuild",
            )
        known = await catalog.write(keep_identity, secrets.token_hex(16))
    if marked is None and await _holds_blobs(store):
        marked = await store.read_identity()  # another node may have begun at the same time
        if marked is None:
            raise IdentityMismatch(
                "the blobs carry no mark of a catalog, so they may belong to another one",
                hint="point storage.url at an empty place, or look with: entrepot admin fsck",
            )
    if marked is None:
        await store.write_identity(known.store_id, known.epoch)
        return known
    check_identity(known, marked)
    if marked.epoch < known.epoch:
        await store.write_identity(known.store_id, known.epoch)
    return known


async def bind_if_there(catalog: Catalog, store: BlobStore) -> str | None:
    """Bind the two and make the store ready; what is wrong when the store can't be used now, else None.

    A catalog that was bound before is served all the same: whoever writes asks again, see
    `confirm_identity`. Raises IdentityMismatch, and StorageFailed where there is nothing yet to serve.
    """
    known = await catalog.read(get_identity)
    try:
        async with asyncio.timeout(START_PATIENCE_S if known else None):
            await bind_identity(catalog, store)
            await store.prepare()
    except StorageFailed as error:
        if known is None:
            raise
        return error.message
    except TimeoutError:
        return f"no answer in {START_PATIENCE_S:.0f} s"
    return None


async def confirm_identity(catalog: Catalog, store: BlobStore) -> None:
    """Before the first change of a process. Raises StorageFailed when the store isn't the catalog's.

    Marks nothing: an endpoint that answers 404 to everything would be believed from then on.
    """
    known = await catalog.read(get_identity)
    if known is None:
        return  # nothing was ever served from here
    marked, reason = await store.read_identity(), "the store does not carry this registry's mark"
    if marked is not None:
        try:
            check_identity(known, marked)
        except IdentityMismatch as error:
            reason = error.message
        else:
            if marked.epoch < known.epoch:
                await store.write_identity(known.store_id, known.epoch)
            return
    log.error("store is not this registry's, nothing is written to it", reason=reason)
    raise StorageFailed(
        "the store is not this registry's; nothing can be pushed until that is put right",
        retry_after_s=RETRY_AFTER_S,
    )


def check_identity(known: CatalogIdentity, marked: StoreIdentity) -> None:
    """Raises IdentityMismatch. Pure."""
    if known.store_id != marked.store_id:
        raise IdentityMismatch(
            f"the catalog belongs to store {known.store_id}, but this is store {marked.store_id}",
            hint="point catalog.url and storage.url at a pair",
        )
    if known.epoch < marked.epoch:
        raise IdentityMismatch(
            f"the catalog (epoch {known.epoch}) is older than its blobs (epoch {marked.epoch}): "
            "the registry was moved elsewhere, or restored, since; or this catalog was put back without the "
            "restore command",
            hint="start the servers of the place that it was moved to; where there is none, restore the "
            "newest backup with: entrepot admin restore",
        )


async def _holds_blobs(store: BlobStore) -> bool:
    found = store.list()
    try:
        async for _ in found:
            return True
    finally:
        await found.aclose()
    return False
