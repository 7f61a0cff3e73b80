"""`system df`: what images, containers and volumes take, and how much of it nothing needs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from entrepot.actions.container_inspect import container_sizes
from entrepot.actions.places import the_store
from entrepot.actions.ps import list_containers
from entrepot.actions.uses import containers_by_image
from entrepot.actions.volumes import list_volumes, volume_bytes
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import chain_ids


class DiskUse(Struct, frozen=True):
    """One kind of thing; sizes in bytes."""

    kind: str
    total: int
    active: int
    """How many are used: images by a container, volumes by a container, containers that run."""
    size: int
    reclaimable: int


def disk_usage(*, store: ImageStore | Path | str | None = None) -> list[DiskUse]:
    """Images, containers and volumes, as docker counts them. A layer that images share counts once."""
    place = the_store(store)
    return [_of_images(place), _of_containers(place), _of_volumes(place)]


def _of_images(store: ImageStore) -> DiskUse:
    images = store.list()
    uses = containers_by_image(store)
    used = [image for image in images if image.id in uses]
    size, kept = _layer_bytes(store, images), _layer_bytes(store, used)
    return DiskUse("Images", len(images), len(used), size, size - kept)


def _layer_bytes(store: ImageStore, images: Iterable[Image]) -> int:
    """Bytes of layers, unpacked; each once."""
    sizes: dict[Digest, int] = {}
    for image in images:
        if image.diff_ids:
            sizes |= zip(chain_ids(image.diff_ids), store.layer_sizes(image), strict=False)
    return sum(sizes.values())


def _of_containers(store: ImageStore) -> DiskUse:
    found = list_containers(all_containers=True, store=store)
    sizes = [container_sizes(item.container, store=store)[0] for item in found]
    running = [item.state.is_up for item in found]
    idle = sum(size for size, runs in zip(sizes, running, strict=True) if not runs)
    return DiskUse("Containers", len(found), sum(running), sum(sizes), idle)


def _of_volumes(store: ImageStore) -> DiskUse:
    found = list_volumes(store=store)
    sizes = [volume_bytes(volume) for volume in found]
    unused = sum(size for size, volume in zip(sizes, found, strict=True) if not volume.containers)
    return DiskUse("Local Volumes", len(found), sum(bool(v.containers) for v in found), sum(sizes), unused)
