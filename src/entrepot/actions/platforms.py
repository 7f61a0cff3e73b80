"""What an index holds, platform by platform: for `inspect` and `images --tree`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from entrepot.errors import NotFound
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.oci.annotations import DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.manifest import ImageManifest, Index
from entrepot.oci.platform import Platform

_ATTESTATION = "attestation-manifest"


class PlatformManifest(Struct, frozen=True):
    """One manifest of an index."""

    descriptor: Descriptor
    is_here: bool
    platform: Platform | None = None
    content_size: int = 0
    """Bytes of manifest, config and layers as they are stored; 0 for what is not here."""
    unpacked_size: int = 0
    attests: str | None = None
    """The digest of the image that an attestation is about."""


def platforms_of(store: ImageStore, image: Image) -> list[PlatformManifest]:
    """The manifests of the index that an image's name points to, in its order; none for a single image."""
    if image.target.digest == image.manifest.digest:
        return []
    index = store.get_manifest(image.target.digest).parse()
    if not isinstance(index, Index):
        return []
    return [_looked_at(store, image, child) for child in index.manifests]


def _looked_at(store: ImageStore, image: Image, child: Descriptor) -> PlatformManifest:
    attests = None
    if child.annotations.get(DOCKER_REFERENCE_TYPE) == _ATTESTATION:
        attests = child.annotations.get(DOCKER_REFERENCE_DIGEST)
    try:
        manifest = store.get_manifest(child.digest, child.media_type).parse()
    except NotFound:
        return PlatformManifest(child, False, child.platform, attests=attests)
    if not isinstance(manifest, ImageManifest):
        return PlatformManifest(child, True, child.platform, child.size, attests=attests)
    config = store.image_config(manifest)
    return PlatformManifest(
        child,
        True,
        child.platform or (config.platform if config else None),
        child.size + manifest.config.size + sum(layer.size for layer in manifest.layers),
        sum(store.layer_sizes(msgspec.structs.replace(image, manifest=child))) if config else 0,
        attests,
    )


def manifest_summaries(store: ImageStore, image: Image) -> list[dict[str, Any]]:
    """`Manifests` of docker's document about an image (Engine API 1.48, ImageManifestSummary)."""
    return [_summary(found) for found in platforms_of(store, image)]


def _summary(found: PlatformManifest) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ID": str(found.descriptor.digest),
        "Descriptor": found.descriptor.to_json(),
        "Available": found.is_here,
        "Size": {"Content": found.content_size, "Total": found.content_size + found.unpacked_size},
    }
    if found.attests is not None:
        return document | {"Kind": "attestation", "AttestationData": {"For": found.attests}}
    if found.platform is None:
        return document | {"Kind": "unknown"}
    return document | {
        "Kind": "image",
        "ImageData": {"Platform": found.platform.to_json(), "Size": {"Unpacked": found.unpacked_size}},
    }
