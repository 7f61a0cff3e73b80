"""Where actions work when the caller does not say: the store and the settings of this user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from entrepot.images.location import default_store_path
from entrepot.images.store import ImageStore

if TYPE_CHECKING:
    from entrepot.client.settings import ClientSettings


def the_store(store: ImageStore | Path | str | None) -> ImageStore:
    """A store, from what library callers may pass for one."""
    if isinstance(store, ImageStore):
        return store
    return ImageStore(Path(store) if store else default_store_path())


def the_settings(settings: ClientSettings | None, *, insecure: bool = False) -> ClientSettings:
    """What this user's files and environment say about registries, unless the caller says it."""
    from entrepot.client.settings import ClientSettings  # most verbs speak to no registry

    found = settings if settings is not None else ClientSettings.load(os.environ)
    return found.with_insecure() if insecure else found
