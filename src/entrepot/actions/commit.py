"""`commit`: an image from a container, its changes as one layer more."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entrepot.actions.create import lifecycle_of
from entrepot.containers.lifecycle import Lifecycle
from entrepot.containers.records import Container, ProcessConfig
from entrepot.images.changes import apply_changes
from entrepot.images.image import Image
from entrepot.images.leases import Lease
from entrepot.images.store import ImageStore
from entrepot.images.times import print_time
from entrepot.layers.diff import TreeChange, write_layer
from entrepot.layers.layer_writer import LayerWriter
from entrepot.layers.reproducible import creation_time, source_date_epoch
from entrepot.layers.tar_writer import TarWriter
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import HistoryEntry
from entrepot.oci.reference import Reference


def commit_container(
    name: str,
    repository: str | None = None,
    *,
    author: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
    timestamp_s: int | None = None,
    store: ImageStore | Path | str | None = None,
) -> Image:
    """Make an image of a container as it is; what is in volumes is not part of it.

    No change makes no layer. With `timestamp_s` (or SOURCE_DATE_EPOCH) the same changes make the same
    digests.
    Raises NoSuchContainer, NoSuchImage when the container's image is gone, InvalidChange, InvalidReference,
    DiskFull.
    Interrupted, no image is there; what was written is collected later.
    """
    names = [Reference.parse(repository).with_default_tag()] if repository else []
    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    place = lifecycle.containers.store
    runtime = apply_changes(runtime_config(container.process), changes)
    epoch_s = source_date_epoch() if timestamp_s is None else timestamp_s
    base_id = Digest.parse(container.image_id)
    base = place.config(place.resolve(container.image_id))
    with place.lease() as lease:
        layers = list(place.manifest(place.resolve(container.image_id)).layers)
        lease.add([layer.digest for layer in layers])
        with lifecycle.paused(container, wanted=pause):
            layer = _store_changes(lifecycle, container, lease, epoch_s)
        created = print_time(creation_time(epoch_s))
        entry = HistoryEntry(
            created=created,
            created_by=" ".join(container.argv),
            author=author,
            comment=message,
            empty_layer=layer is None,
        )
        diff_ids = list(base.diff_ids)
        if layer is not None:
            layers.append(layer[0])
            diff_ids.append(layer[1])
        config = base.with_changes(
            diff_ids=diff_ids,
            history=[*base.history, entry],
            created=created,
            extra={"author": author or None, "config": runtime, **_FORGOTTEN},
        )
        return place.create_image(config, layers, names=names, parent=base_id, lease=lease)


_FORGOTTEN: dict[str, Any] = dict.fromkeys(
    ("container", "container_config", "docker_version", "id", "parent", "comment")
)
"""What old engines wrote at the top of the base's config, about the container that it came from."""


def runtime_config(process: ProcessConfig) -> dict[str, Any]:
    """The `config` object of an image that starts as this container does."""
    full: dict[str, Any] = {
        "User": process.user,
        "ExposedPorts": {port: {} for port in process.exposed_ports},
        "Env": list(process.env),
        "Entrypoint": process.entrypoint,
        "Cmd": process.cmd,
        "Volumes": {volume: {} for volume in process.volumes},
        "WorkingDir": process.working_dir,
        "Labels": dict(process.labels),
        "StopSignal": process.stop_signal,
        "Shell": process.shell,
        "Healthcheck": process.healthcheck,
        "OnBuild": process.onbuild,
    }
    return {key: value for key, value in full.items() if value}


def _store_changes(
    lifecycle: Lifecycle, container: Container, lease: Lease, epoch_s: int | None
) -> tuple[Descriptor, Digest] | None:
    """The changes as a blob: its descriptor and diff ID; None when there are none."""
    with lifecycle.rootfs(container).changes() as changes:
        first = next(changes, None)
        if first is None:
            return None
        return store_layer(lifecycle.containers.store, _chain(first, changes), lease, epoch_s=epoch_s)


def _chain(first: TreeChange, rest: Any) -> Any:
    yield first
    yield from rest


def store_layer(
    store: ImageStore, changes: Any, lease: Lease, *, epoch_s: int | None
) -> tuple[Descriptor, Digest]:
    """Write changes as a layer into the store; its descriptor and diff ID."""

    def write(writer: TarWriter) -> None:
        write_layer(writer, changes)

    return store_stream(store, write, lease, epoch_s=epoch_s)


def store_stream(
    store: ImageStore, write: Any, lease: Lease, *, epoch_s: int | None
) -> tuple[Descriptor, Digest]:
    """Store what `write(TarWriter)` writes as a compressed layer; its descriptor and diff ID."""
    with store.new_blob() as blob:
        out = LayerWriter(blob, "gzip", reproducible=epoch_s is not None, hash_stored=False)
        try:
            tar = TarWriter(out, latest_s=epoch_s)
            write(tar)
            out.close()
        finally:
            out.abandon()
        digest = blob.digest()
        lease.add([digest])
        blob.commit(digest)
    with contextlib.suppress(OSError):
        store.record_layer_size(digest, tar.data_bytes)
    return Descriptor(mediatype.OCI_LAYER_GZIP, digest, out.size), out.diff_id
