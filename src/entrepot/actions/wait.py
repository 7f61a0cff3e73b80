"""`wait`: until a container does not run."""

from __future__ import annotations

from pathlib import Path

from entrepot.actions.create import lifecycle_of
from entrepot.images.store import ImageStore


def wait_for_container(name: str, *, store: ImageStore | Path | str | None = None) -> int:
    """Its exit code, at once when it does not run. Raises NoSuchContainer."""
    lifecycle = lifecycle_of(store)
    return lifecycle.wait(lifecycle.containers.find(name))
