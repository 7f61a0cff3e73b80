"""Everything under a manifest: indexes, images and their blobs, each once."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final

from msgspec import Struct

from entrepot.content.errors import GraphTooDeep, GraphTooLarge
from entrepot.content.protocols import ManifestBytes, Source
from entrepot.content.verify import SizeMismatch, verify_manifest
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import DEFAULT, ImageManifest, Index, ManifestLimits

MAX_DEPTH: Final = 8
MAX_MANIFESTS: Final = 10_000
MAX_MANIFEST_BYTES: Final = 64 << 20
"""Of all manifests of a graph together: some callers hold them in memory until the last has come."""
_HINT: Final = "no image needs so many; a platform of it may be taken alone"


class Node(Struct, frozen=True):
    """One manifest of a graph, with what it needs."""

    manifest: ManifestBytes
    parsed: ImageManifest | Index
    depth: int  # 0 for the one the walk started from
    blobs: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]


def walk(
    source: Source,
    root: str | Digest | ManifestBytes,
    *,
    limits: ManifestLimits = DEFAULT,
    max_depth: int = MAX_DEPTH,
    max_manifests: int = MAX_MANIFESTS,
) -> Iterator[Node]:
    """Each manifest once, a child before its parents, so that what comes can be stored as it comes.

    A root that has been read already is not asked for again; it may be one the source does not have.
    The work is linear in the edges, however often a child is shared. Raises NotFound, GraphTooDeep,
    GraphTooLarge, InvalidManifest, VerificationFailed.
    """
    if not isinstance(root, ManifestBytes):
        root = source.get_manifest(root)
    count = size = 0
    for node in _visit(source, root, 0, {}, limits, max_depth):
        count, size = count + 1, size + len(node.manifest.raw)
        if count > max_manifests:
            raise GraphTooLarge(f"{root.digest} has more than {max_manifests} manifests", hint=_HINT)
        if size > MAX_MANIFEST_BYTES:
            raise GraphTooLarge(
                f"the manifests of {root.digest} have more than {MAX_MANIFEST_BYTES >> 20} MiB together",
                hint=_HINT,
            )
        yield node


def load_node(manifest: ManifestBytes, depth: int = 0, *, limits: ManifestLimits = DEFAULT) -> Node:
    """Raises DigestMismatch, InvalidManifest."""
    verify_manifest(manifest)
    parsed = manifest.parse(limits)
    blobs, children = parsed.references()
    return Node(manifest, parsed, depth, blobs, children)


def _visit(
    source: Source,
    manifest: ManifestBytes,
    depth: int,
    done: dict[Digest, int],
    limits: ManifestLimits,
    max_depth: int,
) -> Generator[Node, None, int]:
    """Returns how many levels are below the manifest; `done` keeps that of each visited before."""
    if depth > max_depth:
        raise _too_deep(manifest.digest, max_depth)
    node = load_node(manifest, depth, limits=limits)
    height = 0
    for child in node.children:
        below = done.get(child.digest)
        if below is None:
            fetched = source.get_manifest(child.digest)
            if len(fetched.raw) != child.size:
                raise SizeMismatch(child.digest, child.size, len(fetched.raw))
            below = yield from _visit(source, fetched, depth + 1, done, limits, max_depth)
        elif depth + 1 + below > max_depth:
            raise _too_deep(child.digest, max_depth)
        height = max(height, 1 + below)
    done[manifest.digest] = height
    yield node
    return height


def _too_deep(digest: Digest, max_depth: int) -> GraphTooDeep:
    return GraphTooDeep(f"{digest} is nested deeper than {max_depth} indexes")
