"""Writes archives of images: docker's, which everything loads, and plain OCI ones.

    blobs/<algorithm>/<hex>   manifests, configs and layers, byte for byte
    index.json                every image under each of its names
    manifest.json             docker's table, for engines before 25 and for podman   (docker only)
    oci-layout
    repositories              for programs older still                               (docker only)

The same images under the same names give the same bytes: members are sorted, times are zero, owners are
root. Blobs several images share are written once. Everything is verified on its way out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from entrepot.archive.reading import ArchiveFormat
from entrepot.content.graph import Node, walk
from entrepot.content.protocols import ManifestBytes, Source
from entrepot.content.verify import VerifiedReader
from entrepot.layers.chunks import Writable
from entrepot.layers.entry import Entry, Kind
from entrepot.layers.tar_writer import TarWriter
from entrepot.layout.index import OCI_LAYOUT, LayoutIndex, build_layout_index, print_index
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest, Index
from entrepot.oci.platform import Platform, select_platform
from entrepot.oci.reference import Reference

_BUFFER_BYTES: Final = 1 << 20
Progress = Callable[[Descriptor, int], None]
"""Called with a blob and the number of its bytes that are written next."""


@dataclass(frozen=True, slots=True)
class SavedImage:
    """What to save: a manifest or index of `source`, and its names in the archive."""

    source: Source
    target: Descriptor
    references: tuple[Reference, ...] = ()
    ref_names: tuple[str, ...] = ()
    """Names to be written as they are, as OCI archives have them."""
    nodes: tuple[Node, ...] = ()
    """The target and the manifests below it where they have been read; else they are read from the source."""


@dataclass(slots=True)
class _Plan:
    """Everything an archive will hold."""

    manifests: dict[Digest, ManifestBytes]
    blobs: dict[Digest, tuple[Descriptor, Source]]
    index: LayoutIndex
    items: list[dict[str, Any]]
    repositories: dict[str, dict[str, str]]


def write_archive(
    out: Writable,
    images: Sequence[SavedImage],
    *,
    archive_format: ArchiveFormat = "docker",
    progress: Progress | None = None,
) -> None:
    """Write images in their order. `out` is not closed, and holds half an archive after an error.

    Raises NotFound, VerificationFailed, what the sources raise, OSError of `out`.
    """
    plan = _plan(images)
    writer = TarWriter(out)
    for name in _directories(plan):
        writer.add(Entry(name.encode(), Kind.DIRECTORY, mode=0o755))
    for digest in sorted({*plan.manifests, *plan.blobs}):
        if digest in plan.manifests:
            _add(writer, _path(digest), plan.manifests[digest].raw)
        else:
            _add_blob(writer, *plan.blobs[digest], progress)
    for name, content in sorted(_documents(plan, archive_format).items()):
        _add(writer, name, content)
    writer.close()


def _plan(images: Sequence[SavedImage]) -> _Plan:
    plan = _Plan({}, {}, LayoutIndex(), [], {})
    merged: dict[Digest, SavedImage] = {}
    for image in images:
        known = merged.get(image.target.digest)
        merged[image.target.digest] = image if known is None else _merge(known, image)
    for image in merged.values():
        found = image.nodes or walk(image.source, image.target.digest)
        nodes = {node.manifest.digest: node for node in found}
        for digest, node in nodes.items():
            plan.manifests[digest] = node.manifest
            plan.blobs.update({blob.digest: (blob, image.source) for blob in node.blobs})
        _plan_docker(plan, image, nodes)
    plan.index = build_layout_index(
        (image.target, [] if image.ref_names else _tagged(image)) for image in merged.values()
    )
    for image in merged.values():
        for name in image.ref_names:
            plan.index = plan.index.with_name(name, image.target)
    return plan


def _merge(known: SavedImage, other: SavedImage) -> SavedImage:
    return SavedImage(
        known.source,
        known.target,
        tuple(dict.fromkeys((*known.references, *other.references))),
        tuple(dict.fromkeys((*known.ref_names, *other.ref_names))),
        known.nodes,
    )


def _plan_docker(plan: _Plan, image: SavedImage, nodes: dict[Digest, Node]) -> None:
    """docker's table has one image for a name: of an index, the one for this machine."""
    chosen = _chosen(image.target.digest, nodes)
    if chosen is None or not chosen.is_image:
        return
    names = [reference.familiar() for reference in _tagged(image)]
    plan.items.append(
        {
            "Config": _path(chosen.config.digest),
            "RepoTags": names or None,
            "Layers": [_path(layer.digest) for layer in chosen.layers],
        }
    )
    for reference in _tagged(image) if chosen.layers else ():
        tags = plan.repositories.setdefault(reference.familiar_name, {})
        tags[reference.tag or ""] = chosen.layers[-1].digest.hex


def _chosen(digest: Digest, nodes: dict[Digest, Node]) -> ImageManifest | None:
    node = nodes.get(digest)
    if node is None:
        return None
    if isinstance(node.parsed, ImageManifest):
        return node.parsed
    assert isinstance(node.parsed, Index)
    children = [
        child
        for child in node.parsed.manifests
        if not (child.platform is not None and child.platform.is_unknown)
    ]
    at = select_platform([child.platform for child in children], Platform.host())
    return _chosen(children[at or 0].digest, nodes) if children else None


def _tagged(image: SavedImage) -> list[Reference]:
    """Names with a tag; a digest alone names nothing in an archive."""
    names = (reference.with_digest(None) for reference in image.references if reference.tag is not None)
    return list(dict.fromkeys(names))


def _documents(plan: _Plan, archive_format: ArchiveFormat) -> dict[str, bytes]:
    documents = {"index.json": print_index(plan.index), "oci-layout": OCI_LAYOUT}
    if archive_format == "docker":
        documents["manifest.json"] = msgspec.json.encode(plan.items)
        if plan.repositories:
            documents["repositories"] = msgspec.json.encode(plan.repositories)
    return documents


def _directories(plan: _Plan) -> list[str]:
    algorithms = {digest.algorithm for digest in (*plan.manifests, *plan.blobs)}
    return ["blobs", *(f"blobs/{algorithm}" for algorithm in sorted(algorithms))]


def _add(writer: TarWriter, name: str, content: bytes) -> None:
    writer.add(Entry(name.encode(), Kind.FILE, mode=0o444, size=len(content)), [content])


def _add_blob(writer: TarWriter, descriptor: Descriptor, source: Source, progress: Progress | None) -> None:
    entry = Entry(_path(descriptor.digest).encode(), Kind.FILE, mode=0o444, size=descriptor.size)
    with source.open_blob(descriptor) as stream:
        writer.add(entry, _verified(VerifiedReader(stream, descriptor), descriptor, progress))


def _verified(
    reader: VerifiedReader, descriptor: Descriptor, progress: Progress | None
) -> Iterator[memoryview]:
    buffer = bytearray(min(_BUFFER_BYTES, max(descriptor.size, 1)))
    view = memoryview(buffer)
    while count := reader.readinto(buffer):
        if progress is not None:
            progress(descriptor, count)
        yield view[:count]


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
