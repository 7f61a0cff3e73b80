"""A docker manifest as the OCI one that means the same: other media types, the same config and layers.

So an image keeps its ID, and its manifest gets another digest. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from entrepot.content.protocols import ManifestBytes
from entrepot.oci import mediatype
from entrepot.oci.digest import Digest

__all__ = ["as_oci"]

_OCI: Final = {
    mediatype.DOCKER_MANIFEST: mediatype.OCI_MANIFEST,
    mediatype.DOCKER_LIST: mediatype.OCI_INDEX,
    mediatype.DOCKER_CONFIG: mediatype.OCI_CONFIG,
    mediatype.DOCKER_LAYER: mediatype.OCI_LAYER,
    mediatype.DOCKER_LAYER_GZIP: mediatype.OCI_LAYER_GZIP,
    mediatype.DOCKER_LAYER_ZSTD: mediatype.OCI_LAYER_ZSTD,
    mediatype.DOCKER_FOREIGN_LAYER: mediatype.OCI_NONDISTRIBUTABLE_LAYER,
    mediatype.DOCKER_FOREIGN_LAYER_GZIP: mediatype.OCI_NONDISTRIBUTABLE_LAYER_GZIP,
}


def as_oci(manifest: ManifestBytes, child: Callable[[str], ManifestBytes | None]) -> ManifestBytes:
    """`manifest` itself when nothing in it is docker's own.

    `child` gives an index' children by digest, converted already; None when one is not there.
    """
    document = msgspec.json.decode(manifest.raw)
    media_type = _OCI.get(manifest.media_type, manifest.media_type)
    parts = [document.get("config"), *document.get("layers", ()), *document.get("manifests", ())]
    changed = media_type != manifest.media_type
    for part in parts:
        changed |= isinstance(part, dict) and _change(part, child)
    if not changed:
        return manifest
    raw = msgspec.json.encode({**document, "mediaType": media_type})
    return ManifestBytes(raw, media_type, Digest.of(raw))


def _change(descriptor: dict[str, Any], child: Callable[[str], ManifestBytes | None]) -> bool:
    before = dict(descriptor)
    kind = str(descriptor.get("mediaType"))
    descriptor["mediaType"] = _OCI.get(kind, kind)
    if mediatype.is_manifest(kind) and (found := child(str(descriptor["digest"]))) is not None:
        descriptor.update(mediaType=found.media_type, digest=str(found.digest), size=len(found.raw))
    return descriptor != before
