"""`manifest rm`: forget lists in progress."""

from __future__ import annotations

from pathlib import Path

from entrepot.actions.manifest_lists import ManifestLists
from entrepot.actions.places import the_store
from entrepot.images.store import ImageStore


def remove_manifest(name: str, *, store: ImageStore | Path | str | None = None) -> None:
    """Forget a list in progress; what was pushed stays. Raises NoSuchManifestList."""
    ManifestLists(the_store(store)).remove(name)
