"""Catalog and store belong together: both carry the same random id and epoch, compared at every start.

A catalog beside somebody else's blobs, or one that is older than its store, must not be served: garbage
collection would take blobs that the right catalog still needs.
"""

from __future__ import annotations

import secrets
from typing import ClassVar

from entrepot.errors import Conflict
from entrepot.server.db import Catalog
from entrepot.server.db.settings import CatalogIdentity, get_identity, keep_identity
from entrepot.server.storage.store import BlobStore, StoreIdentity


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
