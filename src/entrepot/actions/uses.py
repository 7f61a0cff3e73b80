"""Which containers are made from which images. The one place where image verbs look at containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from entrepot.errors import NotFound
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest

if TYPE_CHECKING:
    from entrepot.actions.rmi import ContainerUse


def containers_by_image(store: ImageStore) -> Mapping[Digest, Sequence[ContainerUse]]:
    """Image ID → its containers."""
    del store  # containers are not looked at yet
    return {}


def inspect_container(name: str, *, size: bool, store: ImageStore) -> dict[str, Any]:
    """docker's document about a container. Raises NotFound."""
    del size, store
    raise NotFound(f"No such container: {name}")
