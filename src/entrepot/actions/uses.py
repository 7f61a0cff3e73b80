"""What image verbs have to know of containers: who uses an image, what may be unpacked no longer.

Most stores never see a container, so nothing of them is imported before there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from entrepot.errors import NotFound
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest


class ContainerUse(Struct, frozen=True):
    """A container made from an image."""

    container: str
    """Its ID."""
    running: bool


def containers_by_image(store: ImageStore) -> Mapping[Digest, Sequence[ContainerUse]]:
    """Image ID → its containers, running ones first."""
    if not _has_containers(store):
        return {}
    from entrepot.containers.looking import settled_state
    from entrepot.containers.records import Containers

    containers = Containers(store)
    found: dict[Digest, list[ContainerUse]] = {}
    for container in containers.list():
        running = settled_state(containers, container).is_up
        found.setdefault(Digest.parse(container.image_id), []).append(ContainerUse(container.id, running))
    return {image: sorted(uses, key=lambda use: not use.running) for image, uses in found.items()}


def collect_snapshots(store: ImageStore) -> None:
    """Remove unpacked layers that neither an image nor a container stands on."""
    if not (store.paths.own / "snapshots").exists():
        return
    from entrepot.containers.records import Containers
    from entrepot.images.snapshots import Snapshots
    from entrepot.oci.imageconfig import chain_ids

    def needed() -> set[Digest]:
        of_images = [image.diff_ids for image in store.list()]
        of_containers = [
            tuple(Digest.parse(text) for text in container.diff_ids) for container in Containers(store).list()
        ]
        return {chain for diff_ids in (*of_images, *of_containers) for chain in chain_ids(diff_ids)}

    Snapshots(store).collect(needed)


def inspect_container(name: str, *, size: bool = False, store: ImageStore) -> dict[str, Any]:
    """docker's document about a container. Raises NoSuchContainer."""
    if not _has_containers(store):
        raise NotFound(f"No such container: {name}")
    from entrepot.actions.container_inspect import inspect_container as inspect

    return inspect(name, size=size, store=store)


def _has_containers(store: ImageStore) -> bool:
    return (store.paths.own / "containers").exists()
