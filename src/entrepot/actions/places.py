"""Where actions work when the caller does not say: the store and the settings of this user."""

from __future__ import annotations

from pathlib import Path

from entrepot.images.location import default_store_path
from entrepot.images.store import ImageStore


def the_store(store: ImageStore | Path | str | None) -> ImageStore:
    """A store, from what library callers may pass for one."""
    if isinstance(store, ImageStore):
        return store
    return ImageStore(Path(store) if store else default_store_path())
