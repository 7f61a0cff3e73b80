"""Everything under a manifest: indexes, images and their blobs, each once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from entrepot.content.errors import GraphTooDeep
from entrepot.content.protocols import ManifestBytes, Source
from entrepot.content.verify import SizeMismatch, verify_manifest
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import DEFAULT, ImageManifest, Index, ManifestLimits

MAX_DEPTH: Final = 8


class Node(Struct, frozen=True):
    """One manifest of a graph, with what it needs."""

    manifest: ManifestBytes
    parsed: ImageManifest | Index
    depth: int  # 0 for the one the walk started from
    blobs: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]


def walk(
    source: Source,
    reference: str | Digest,
    *,
    limits: ManifestLimits = DEFAULT,
    max_depth: int = MAX_DEPTH,
) -> Iterator[Node]:
    """Each manifest once, a child before its parents, so that what comes can be stored as it comes.

    The work is linear in the edges, however often a child is shared. Raises NotFound, GraphTooDeep,
    InvalidManifest, VerificationFailed.
    """
    root = source.get_manifest(reference)
    done: dict[Digest, int] = {}
    yield from _visit(source, root, 0, done, limits, max_depth)


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
) -> Iterator[Node]:
    if depth > max_depth:
        raise GraphTooDeep(f"{manifest.digest} is nested deeper than {max_depth} indexes")
    node = load_node(manifest, depth, limits=limits)
    for child in node.children:
        if child.digest in done:
            continue
        fetched = source.get_manifest(child.digest)
        if len(fetched.raw) != child.size:
            raise SizeMismatch(child.digest, child.size, len(fetched.raw))
        yield from _visit(source, fetched, depth + 1, done, limits, max_depth)
    done[manifest.digest] = depth
    yield node
