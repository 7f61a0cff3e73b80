"""`tree`: an image, its platforms, and what belongs to each, as deep as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entrepot.actions.endpoints import Ends
from entrepot.actions.places import the_settings, the_store
from entrepot.actions.referrers import MAX_DEPTH, SIGNATURE_SUFFIXES
from entrepot.actions.signatures import BUNDLES, NOTATION, ImageThere, old_tag, open_image
from entrepot.client.settings import ClientSettings
from entrepot.content.errors import ManifestNotFound
from entrepot.errors import InvalidInput, LimitExceeded
from entrepot.images.store import ImageStore
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import Index

MAX_NODES = 2000
_PREDICATE = "dev.sigstore.bundle.predicateType"
_SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
_OLD = {
    ".sig": "signature (cosign, by tag)",
    ".att": "attestation (cosign, by tag)",
    ".sbom": "SBOM (cosign, by tag)",
}


@dataclass(frozen=True, slots=True)
class ReferrerTree:
    """One manifest, and what belongs to it."""

    label: str
    """What it is, in words."""
    descriptor: Descriptor
    children: list[ReferrerTree] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"label": self.label} | self.descriptor.to_json()
        return found | {"referrers": [one.to_json() for one in self.children]} if self.children else found


def tree(
    name: str,
    *,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> ReferrerTree:
    """Raises NotFound, InvalidEndpoint, Unavailable; LimitExceeded beyond MAX_NODES manifests."""
    with (
        Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends,
        open_image(name, ends) as image,
    ):
        return _Walk(image).node(image.descriptor, name, depth=0)


class _Walk:
    """Each manifest is shown once, so that whoever makes two refer to each other gains nothing."""

    def __init__(self, image: ImageThere) -> None:
        self._image = image
        self._seen: set[Digest] = set()

    def node(self, descriptor: Descriptor, label: str, *, depth: int) -> ReferrerTree:
        if len(self._seen) >= MAX_NODES:
            raise LimitExceeded(f"{self._image.endpoint}: more than {MAX_NODES} manifests belong to it")
        self._seen.add(descriptor.digest)
        found = ReferrerTree(label, descriptor)
        for child, named, deeper in self._below(descriptor):
            if child.digest not in self._seen and depth <= MAX_DEPTH:
                found.children.append(self.node(child, named, depth=depth + deeper))
        return found

    def _below(self, descriptor: Descriptor) -> Iterator[tuple[Descriptor, str, int]]:
        origin = self._image.origin
        if mediatype.is_index(descriptor.media_type):
            yield from ((child, child_label(child), 0) for child in self._platforms(descriptor))
        if origin.referrers is not None:
            for child in origin.referrers.list_referrers(descriptor.digest):
                yield child, referrer_label(child), 1
        for suffix in SIGNATURE_SUFFIXES:
            try:
                held = origin.source.get_manifest(old_tag(descriptor.digest, suffix))
            except ManifestNotFound:
                continue
            yield held.descriptor(), _OLD[suffix], 1

    def _platforms(self, descriptor: Descriptor) -> tuple[Descriptor, ...]:
        try:
            parsed = self._image.origin.source.get_manifest(descriptor.digest).parse()
        except (ManifestNotFound, InvalidInput):
            return ()
        return parsed.manifests if isinstance(parsed, Index) else ()


def child_label(descriptor: Descriptor) -> str:
    """Of an entry of an index."""
    if descriptor.annotations.get("vnd.docker.reference.type") == "attestation-manifest":
        return "attestations (BuildKit, not signed)"
    return str(descriptor.platform) if descriptor.platform is not None else "image"


def referrer_label(descriptor: Descriptor) -> str:
    """Of a referrer, by its artifact type and annotations: what it says it is."""
    kind = descriptor.artifact_type or "artifact"
    if kind == NOTATION:
        return "signature (notation)"
    if kind.startswith(BUNDLES):
        predicate = descriptor.annotations.get(_PREDICATE, "")
        return "signature (sigstore)" if predicate in ("", _SIGNATURE) else f"attestation {predicate}"
    return kind
