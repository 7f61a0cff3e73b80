"""Plain layers made small before they travel.

Archives written by docker hold layers as plain tar. As docker does, they are compressed on their way to a
registry; unlike docker's, the result stays: the tags point to the smaller manifest from then on, so that
every later push sends the same digest. The image ID is that of the config, which does not change.
"""

from __future__ import annotations

import msgspec

from entrepot.actions.events import LayerCompressing, Listener, nobody
from entrepot.content.protocols import CancelToken
from entrepot.content.verify import DigestMismatch
from entrepot.images.image import Image
from entrepot.images.leases import Lease
from entrepot.images.store import ImageStore
from entrepot.layers.compression import CHUNK_BYTES, read_chunks, sniff_compression
from entrepot.layers.layer_writer import LayerWriter
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.manifest import ImageManifest, build_manifest

COMPRESSED = {
    mediatype.OCI_LAYER: mediatype.OCI_LAYER_GZIP,
    mediatype.DOCKER_LAYER: mediatype.DOCKER_LAYER_GZIP,
}
"""What a plain layer is called once it is compressed."""


def with_compressed_layers(
    store: ImageStore, image: Image, *, on_event: Listener = nobody, cancel: CancelToken | None = None
) -> Image:
    """The image under a manifest whose layers are compressed; the same one when nothing has to be done.

    Left alone are indexes, and layers some registry is known to have as they are.
    Raises DigestMismatch when a layer is damaged; the store is then as it was.
    """
    if image.target.digest != image.manifest.digest:
        return image
    manifest = store.manifest(image)
    plain = [layer for layer in manifest.layers if _is_plain(store, layer)]
    known = store.blobs_at_registries() if plain else frozenset()
    plain = [layer for layer in plain if layer.digest not in known]
    if not plain:
        return image
    with store.lease() as lease:
        sizes = dict(zip((layer.digest for layer in manifest.layers), store.layer_sizes(image), strict=True))
        smaller = {
            layer.digest: _compress(
                store, layer, sizes[layer.digest], lease, on_event, cancel or CancelToken()
            )
            for layer in plain
        }
        layers = [smaller.get(layer.digest, layer) for layer in manifest.layers]
        target = _store_manifest(store, manifest, layers, lease)
        store.replace_manifest(image.target, target)
    return msgspec.structs.replace(
        image,
        target=target,
        manifest=target,
        blobs=(manifest.config.digest, *(layer.digest for layer in layers)),
        targets=tuple(target.digest if one == image.target.digest else one for one in image.targets),
    )


def _is_plain(store: ImageStore, layer: Descriptor) -> bool:
    """By name and by its bytes: some archives call compressed layers plain."""
    if layer.media_type not in COMPRESSED or not store.blobs.has(layer.digest):
        return False
    with store.open_layer(layer) as file:
        return sniff_compression(file.read(4)) is None


def _compress(
    store: ImageStore, layer: Descriptor, size: int, lease: Lease, on_event: Listener, cancel: CancelToken
) -> Descriptor:
    """`size` is what the layer takes once unpacked."""
    with store.new_blob() as blob:
        writer = LayerWriter(blob, "gzip")
        done = 0
        try:
            with store.open_layer(layer) as file:
                for chunk in read_chunks(file, CHUNK_BYTES):
                    cancel.check()
                    writer.write(chunk)
                    done += len(chunk)
                    on_event(LayerCompressing(layer, done))
            writer.close()
        finally:
            writer.abandon()
        if layer.digest.algorithm == "sha256" and writer.diff_id != layer.digest:
            raise DigestMismatch(layer.digest, writer.diff_id)
        lease.add([writer.digest])
        blob.commit(writer.digest)
    store.record_layer_size(writer.digest, size)
    return msgspec.structs.replace(
        layer, media_type=COMPRESSED[layer.media_type], digest=writer.digest, size=writer.size
    )


def _store_manifest(
    store: ImageStore, manifest: ImageManifest, layers: list[Descriptor], lease: Lease
) -> Descriptor:
    smaller = build_manifest(
        manifest.config,
        layers,
        media_type=manifest.media_type,
        annotations=manifest.annotations,
        subject=manifest.subject,
        artifact_type=manifest.artifact_type,
    )
    lease.add([smaller.digest()])
    store.blobs.put_bytes(smaller.raw)
    return smaller.descriptor()
