"""Removing an upload's bytes where a failure of that must not hide what it is done for."""

from __future__ import annotations

import logging

from entrepot.server.storage.errors import StorageFailed
from entrepot.server.storage.store import BlobStore

__all__ = ["discard"]

_log = logging.getLogger(__name__)


async def discard(store: BlobStore, phys: str) -> None:
    """Remove an upload's bytes; the reconcile pass finds again what can't be removed now."""
    try:
        await store.abort(phys)
    except StorageFailed as error:
        _log.warning("upload-bytes-left", extra={"phys": phys, "reason": error.message})
