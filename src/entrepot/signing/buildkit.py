"""BuildKit's attestation manifests: entries of an index that say how its images were built. Not signed."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, InvalidDigest
from entrepot.oci.manifest import ImageManifest, Index

IN_TOTO_LAYER = "application/vnd.in-toto+json"
_TYPE, _OF = "vnd.docker.reference.type", "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"


@dataclass(frozen=True, slots=True)
class AttestationEntry:
    """One attestation manifest, and the image of the same index that it is about."""

    descriptor: Descriptor
    image: Digest


def attestation_entries(index: Index) -> list[AttestationEntry]:
    """Those that name an image which is in the index: others are nobody's."""
    images = {one.digest for one in index.manifests}
    found = []
    for one in index.manifests:
        if one.annotations.get(_TYPE) != "attestation-manifest":
            continue
        try:
            image = Digest.parse(one.annotations.get(_OF, ""))
        except InvalidDigest:
            continue
        if image in images and image != one.digest:
            found.append(AttestationEntry(one, image))
    return found


def statement_layers(manifest: ImageManifest) -> list[tuple[str, Descriptor]]:
    """Type of predicate, as the manifest says, and the layer that is the statement."""
    return [
        (layer.annotations.get(_PREDICATE, ""), layer)
        for layer in manifest.layers
        if layer.media_type == IN_TOTO_LAYER
    ]
