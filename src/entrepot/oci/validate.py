"""Checks over a parsed manifest that need its surroundings: what its references say, what is stored.

`parse_manifest` has already refused what is wrong in the document itself; `check_manifest` repeats the
limits for manifests that were built rather than parsed.
"""

from __future__ import annotations

from collections.abc import Callable

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import (
    DEFAULT,
    ImageManifest,
    Index,
    InvalidManifest,
    ManifestLimits,
    parse_manifest,
)


def check_manifest(manifest: ImageManifest | Index, limits: ManifestLimits = DEFAULT) -> None:
    """Raises InvalidManifest when the manifest's own bytes would be refused."""
    parse_manifest(manifest.raw, manifest.media_type, limits=limits)


def check_sizes(manifest: ImageManifest | Index, stored_size: Callable[[Digest], int | None]) -> None:
    """Raises InvalidManifest when a descriptor's size differs from what is stored; unknown content passes."""
    blobs, children = manifest.references()
    for descriptor in (*blobs, *children):
        _check_size(descriptor, stored_size(descriptor.digest))


def _check_size(descriptor: Descriptor, stored: int | None) -> None:
    if stored is not None and stored != descriptor.size:
        raise InvalidManifest(
            f"{descriptor.digest} has {stored} bytes, but the manifest says {descriptor.size}"
        )
