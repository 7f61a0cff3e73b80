"""`rm`: remove containers."""

from __future__ import annotations

from pathlib import Path

from entrepot.actions.create import lifecycle_of
from entrepot.images.store import ImageStore


def remove_container(
    name: str,
    *,
    force: bool = False,
    volumes: bool = False,
    store: ImageStore | Path | str | None = None,
) -> None:
    """Remove a container and its changes; `force` kills it first, `volumes` removes those nobody named.

    Raises NoSuchContainer, ContainerRunning. Interrupted, it is either there or gone; the next command clears
    the rest.
    """
    lifecycle = lifecycle_of(store)
    lifecycle.remove(lifecycle.containers.find(name), force=force, volumes=volumes)
