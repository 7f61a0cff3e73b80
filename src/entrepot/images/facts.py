"""What is worth remembering of a digest, so that listing 200 images opens one file and not 400.

Facts follow from content that never changes; they are a cache and can be thrown away at any time.
"""

from __future__ import annotations

import msgspec

from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.imageconfig import ImageConfig
from entrepot.oci.manifest import ImageManifest, Index


class IndexChild(msgspec.Struct, frozen=True, array_like=True):
    """A manifest an index names."""

    digest: str
    size: int
    media_type: str
    platform: str | None


class ManifestFacts(msgspec.Struct, frozen=True):
    """Of one manifest or index."""

    blobs: tuple[str, ...] = ()
    """Config and layers."""
    children: tuple[IndexChild, ...] = ()
    """Of an index: those present when it was listed."""
    image_id: str | None = None
    """Config digest; of an index None."""
    layers: tuple[str, ...] = ()
    diff_ids: tuple[str, ...] = ()
    """Empty when the config is no image's."""
    created: str | None = None
    platform: str | None = None
    compressed: int = 0
    """Sum of the layers as they are stored."""


class Facts(msgspec.Struct):
    """The whole file."""

    manifests: dict[str, ManifestFacts] = {}
    sizes: dict[str, int] = {}
    """Layer digest → bytes once unpacked."""


def facts_of_image(manifest: ImageManifest, config: ImageConfig | None) -> ManifestFacts:
    """Facts of a manifest; `config` is None when it is not an image's (an artifact)."""
    return ManifestFacts(
        blobs=(str(manifest.config.digest), *(str(layer.digest) for layer in required_layers(manifest))),
        image_id=str(manifest.config.digest),
        layers=tuple(str(layer.digest) for layer in manifest.layers),
        diff_ids=tuple(str(diff_id) for diff_id in config.diff_ids) if config else (),
        created=_created_text(config),
        platform=str(config.platform) if config and config.platform else None,
        compressed=sum(layer.size for layer in manifest.layers),
    )


def facts_of_index(index: Index, present: set[str]) -> ManifestFacts:
    """Facts of an index of which the `present` children are in the store."""
    return ManifestFacts(
        children=tuple(
            IndexChild(
                str(child.digest),
                child.size,
                child.media_type,
                str(child.platform) if child.platform else None,
            )
            for child in index.manifests
            if str(child.digest) in present
        )
    )


def required_layers(manifest: ImageManifest) -> list[Descriptor]:
    """Layers that have to be in the store; those that may not be passed on and have addresses need not."""
    return [
        layer
        for layer in manifest.layers
        if not (mediatype.is_nondistributable(layer.media_type) and layer.urls)
    ]


def _created_text(config: ImageConfig | None) -> str | None:
    if config is None:
        return None
    return config.created
