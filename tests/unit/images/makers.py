"""Small images put into a store, for tests."""

import gzip
from collections.abc import Sequence

from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import ImageConfig
from entrepot.oci.manifest import build_index
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference
from tests.support.images import layer_tar


def config_of(
    tars: Sequence[bytes],
    *,
    created: str = "2024-01-02T03:04:05Z",
    architecture: str = "amd64",
    **runtime: object,
) -> ImageConfig:
    """An image config over uncompressed layers."""
    return ImageConfig.build(
        {
            "created": created,
            "architecture": architecture,
            "os": "linux",
            "config": runtime,
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(tar)) for tar in tars]},
            "history": [{"created": created, "created_by": f"step {n}"} for n in range(len(tars))],
        }
    )


def add_layer(store: ImageStore, tar: bytes) -> Descriptor:
    packed = gzip.compress(tar, mtime=0)
    digest = store.blobs.put_bytes(packed)
    return Descriptor(mediatype.OCI_LAYER_GZIP, digest, len(packed))


def add_image(
    store: ImageStore,
    *names: str,
    layers: Sequence[str] = ("base",),
    created: str = "2024-01-02T03:04:05Z",
    architecture: str = "amd64",
    parent: Digest | None = None,
    **runtime: object,
) -> Image:
    """An image of one file a layer, under the names given."""
    store.prepare()
    tars = [layer_tar({f"{text}.txt": text.encode()}) for text in layers]
    with store.lease() as lease:
        descriptors = [add_layer(store, tar) for tar in tars]
        lease.add(layer.digest for layer in descriptors)
        config = config_of(tars, created=created, architecture=architecture, **runtime)
        references = [Reference.parse(name).with_default_tag() for name in names]
        return store.create_image(config, descriptors, names=references, parent=parent, lease=lease)


def add_index(store: ImageStore, name: str, *architectures: str) -> Descriptor:
    """An index over one image an architecture."""
    images = [add_image(store, f"part:{one}", layers=(one,), architecture=one) for one in architectures]
    entries = [
        Descriptor(
            image.target.media_type, image.target.digest, image.target.size, platform=Platform("linux", one)
        )
        for image, one in zip(images, architectures, strict=True)
    ]
    index = build_index(entries)
    store.blobs.put_bytes(index.raw)
    store.add([(index.descriptor(), [Reference.parse(name).with_default_tag()])])
    return index.descriptor()
