"""What a copy will move, decided here alone. Pure: manifests that were read go in, lists come out.

    root (what the reference names) ── the platforms wanted ──▶ top (what the sink's tag will name)

The top is the root itself for an image and for "all platforms", the image of one platform for one, and a
new, smaller index for several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from entrepot.content.graph import Node
from entrepot.content.protocols import ManifestBytes
from entrepot.oci.annotations import DOCKER_REFERENCE_DIGEST
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest, Index, build_index
from entrepot.oci.platform import Platform, select_platform
from entrepot.transfer.errors import CopyTooLarge, NoMatchingPlatform
from entrepot.transfer.limits import TransferLimits
from entrepot.transfer.progress import Role


class PlatformChoice(msgspec.Struct, frozen=True):
    """Which images of an index are wanted. `wanted` is empty for all of them."""

    wanted: tuple[Platform, ...] = ()

    @classmethod
    def all(cls) -> PlatformChoice:
        """The index as it is, with everything in it."""
        return cls()

    @classmethod
    def one(cls, platform: Platform) -> PlatformChoice:
        """The image that runs best on `platform`."""
        return cls((platform,))

    @classmethod
    def some(cls, platforms: Sequence[Platform]) -> PlatformChoice:
        """An index of several; the plain image when it is only one."""
        return cls(tuple(platforms))

    @classmethod
    def host(cls) -> PlatformChoice:
        """The image for this machine."""
        return cls((Platform.host(),))

    @property
    def is_all(self) -> bool:
        return not self.wanted


class PlannedBlob(msgspec.Struct, frozen=True):
    """A blob to have at the sink."""

    descriptor: Descriptor
    role: Role
    is_there: bool | None = None
    """Whether the sink has it; None until it was asked."""


class Plan(msgspec.Struct, frozen=True):
    """Blobs each once, in the order of the manifests; manifests each once, children before parents."""

    root: ManifestBytes
    """What the source's reference names."""
    top: ManifestBytes
    """What the sink's tag will name; the root, or a part of it."""
    blobs: tuple[PlannedBlob, ...]
    manifests: tuple[Node, ...]

    @property
    def total_bytes(self) -> int:
        return sum(blob.descriptor.size for blob in self.blobs)


def select_children(index: Index, choice: PlatformChoice) -> tuple[Descriptor, ...]:
    """Entries of `index` for the platforms wanted, one each, in the order wanted.

    Raises NoMatchingPlatform with docker's words.
    """
    candidates = [entry for entry in index.manifests if not _is_attestation(entry)]
    platforms: list[Platform | None] = [entry.platform for entry in candidates]
    found: dict[Digest, Descriptor] = {}
    for wanted in choice.wanted:
        position = select_platform(platforms, wanted)
        if position is None:
            available = tuple(dict.fromkeys(str(one) for one in platforms if one is not None))
            raise NoMatchingPlatform(
                f"no matching manifest for {wanted} in the manifest list entries",
                hint=f"available: {', '.join(available)}" if available else None,
                available=available,
            )
        found.setdefault(candidates[position].digest, candidates[position])
    return tuple(found.values())


def narrowed_index(index: Index, chosen: Iterable[Descriptor]) -> Index:
    """`index` with only the chosen entries and the attestations that belong to them."""
    kept = {str(entry.digest) for entry in chosen}
    entries = [
        entry
        for entry in index.manifests
        if str(entry.digest) in kept or entry.annotations.get(DOCKER_REFERENCE_DIGEST) in kept
    ]
    return build_index(
        entries,
        media_type=index.media_type,
        annotations=index.annotations or None,
        subject=index.subject,
        artifact_type=index.artifact_type,
    )


def make_plan(root: ManifestBytes, top: ManifestBytes, nodes: Iterable[Node], limits: TransferLimits) -> Plan:
    """From the nodes of `top`, children first (as `content.graph.walk` yields them). Raises CopyTooLarge."""
    blobs: dict[Digest, PlannedBlob] = {}
    manifests: dict[Digest, Node] = {}
    total = 0
    for node in nodes:
        if node.manifest.digest in manifests:
            continue
        manifests[node.manifest.digest] = node
        for descriptor in node.blobs:
            if descriptor.digest not in blobs:
                blobs[descriptor.digest] = PlannedBlob(descriptor, _role(node.parsed, descriptor))
                total += descriptor.size
    if limits.max_total_bytes is not None and total > limits.max_total_bytes:
        raise CopyTooLarge(f"the image has {total} bytes; the limit of this copy is {limits.max_total_bytes}")
    return Plan(root, top, tuple(blobs.values()), tuple(manifests.values()))


def mount_candidates(repositories: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """Repositories worth asking to mount from: each once, at most `limit`."""
    return tuple(dict.fromkeys(repositories))[:limit]


def _role(parsed: ImageManifest | Index, descriptor: Descriptor) -> Role:
    if isinstance(parsed, Index):
        return Role.OTHER
    if descriptor.digest == parsed.config.digest:
        return Role.CONFIG
    return Role.LAYER


def _is_attestation(entry: Descriptor) -> bool:
    unknown = entry.platform is not None and entry.platform.is_unknown
    return unknown or DOCKER_REFERENCE_DIGEST in entry.annotations
