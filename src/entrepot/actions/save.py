"""`save`: images from the store into one archive that docker, podman and everything else loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

from entrepot.actions.events import Listener, nobody
from entrepot.actions.output_file import new_file, require_writable
from entrepot.actions.places import the_store
from entrepot.archive.reading import ArchiveFormat
from entrepot.archive.writing import Progress, SavedImage, write_archive
from entrepot.errors import NotFound
from entrepot.images.errors import NoSuchImage
from entrepot.images.image import Image
from entrepot.images.source import StoreSource
from entrepot.images.store import ImageStore
from entrepot.layers.chunks import Writable
from entrepot.layers.compression import Compression
from entrepot.layers.layer_writer import LayerWriter
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference, parse_any_reference
from entrepot.transfer.errors import NoMatchingPlatform
from entrepot.transfer.plan import PlatformChoice
from entrepot.transfer.progress import BlobDone, BlobProgress, BlobStarted, Role
from entrepot.transfer.reading import read_plan

COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


class NoExportTarget(NotFound):
    """No image of the platform asked for is under the name."""

    code: ClassVar[str] = "no-export-target"


def save(
    names: Sequence[str],
    output: Path | str | BinaryIO,
    *,
    platforms: Sequence[str] = (),
    archive_format: ArchiveFormat = "docker",
    compression: Compression = None,
    store: ImageStore | Path | str | None = None,
    on_event: Listener = nobody,
) -> None:
    """Write images into an archive; a name without a tag is all tags of its repository.

    `platforms` are what is taken of an index: the plain image for one, a smaller index for several.
    A path ending in `.gz`, `.tgz` or `.zst` is compressed. A file appears whole, mode 0600, or not at all.
    Blobs stay byte for byte, and saving twice gives the same file.
    Raises NoSuchImage, NoExportTarget, FileUnusable.
    """
    if isinstance(output, (str, Path)):
        require_writable(Path(output), "save image")
    place = the_store(store)
    wanted = [Platform.parse(text) for text in platforms]
    images = [image for name in names for image in _named(place, name, wanted)]
    progress = _Layers(on_event)
    with place.lease() as lease:
        lease.add(digest for image in images for digest in _needed(image))
        if isinstance(output, (str, Path)):
            path = Path(output)
            kind = compression or COMPRESSIONS.get(path.suffix)
            with new_file(path, "save image") as file:
                _write(file, images, archive_format, kind, progress)
        else:
            _write(output, images, archive_format, compression, progress)


def _write(
    out: BinaryIO,
    images: Sequence[SavedImage],
    archive_format: ArchiveFormat,
    compression: Compression,
    progress: Progress | None,
) -> None:
    if compression is None:
        write_archive(out, images, archive_format=archive_format, progress=progress)
        return
    writer = LayerWriter(out, compression)
    try:
        target: Writable = writer
        write_archive(target, images, archive_format=archive_format, progress=progress)
        writer.close()
    finally:
        writer.abandon()


def _named(store: ImageStore, name: str, platforms: Sequence[Platform]) -> list[SavedImage]:
    """What one argument stands for."""
    reference = parse_any_reference(name)
    if isinstance(reference, Reference) and reference.tag is None and reference.digest is None:
        tags = store.tags_of(reference)
        if tags:
            return [_saved(store, store.resolve(str(tag)), (tag,), platforms) for tag in tags]
    try:
        image = store.resolve(name)
    except NoSuchImage:
        raise NoSuchImage(name) from None
    is_tag = isinstance(reference, Reference) and reference.with_default_tag() in image.tags
    names = (reference.with_default_tag(),) if is_tag and isinstance(reference, Reference) else ()
    return [_saved(store, image, names, platforms)]


def _saved(
    store: ImageStore, image: Image, names: tuple[Reference, ...], platforms: Sequence[Platform]
) -> SavedImage:
    source = StoreSource(store)
    root = store.get_manifest(image.target.digest, image.target.media_type)
    try:
        plan = read_plan(source, root, platforms=PlatformChoice.some(platforms))
    except NoMatchingPlatform as error:
        raise _no_target(platforms) from error
    is_single = image.target.digest == image.manifest.digest
    if is_single and any(
        image.platform is None or image.platform.normalized() != wanted for wanted in platforms
    ):
        raise _no_target(platforms)
    # As its index describes it: with its platform.
    entries = (image.target, *root.parse().references()[1])
    described = (entry for entry in entries if entry.digest == plan.top.digest)
    return SavedImage(source, next(described, plan.top.descriptor()), names, nodes=plan.manifests)


def _no_target(platforms: Sequence[Platform]) -> NoExportTarget:
    wanted = ", ".join(map(str, platforms))
    return NoExportTarget(f"no suitable export target found for platform {wanted}")


def _needed(image: SavedImage) -> Iterator[Digest]:
    for node in image.nodes:
        yield node.manifest.digest
        for blob in node.blobs:
            yield blob.digest


class _Layers:
    """What the writer counts, as events of blobs."""

    def __init__(self, on_event: Listener) -> None:
        self._on_event = on_event
        self._done: dict[Digest, int] = {}

    def __call__(self, blob: Descriptor, count: int) -> None:
        role = Role.LAYER if mediatype.is_layer(blob.media_type) else Role.OTHER
        if blob.digest not in self._done:
            self._done[blob.digest] = 0
            self._on_event(BlobStarted(blob, role, 0))
        self._done[blob.digest] += count
        self._on_event(BlobProgress(blob, role, self._done[blob.digest]))
        if self._done[blob.digest] == blob.size:
            self._on_event(BlobDone(blob, role))
