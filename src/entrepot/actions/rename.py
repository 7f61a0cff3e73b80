"""`rename`."""

from __future__ import annotations

from pathlib import Path

from entrepot.actions.create import lifecycle_of
from entrepot.containers.records import Container
from entrepot.images.store import ImageStore


def rename_container(name: str, new_name: str, *, store: ImageStore | Path | str | None = None) -> Container:
    """Raises NoSuchContainer, InvalidContainerName, ContainerNameTaken."""
    lifecycle = lifecycle_of(store)
    return lifecycle.rename(lifecycle.containers.find(name), new_name)
