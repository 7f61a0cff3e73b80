"""`load`: images from an archive, whoever wrote it, into the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from entrepot.actions.errors import FileUnusable
from entrepot.actions.events import Listener, nobody
from entrepot.actions.places import the_store
from entrepot.archive.names import ArchivedImage
from entrepot.archive.reading import Archive, open_archive
from entrepot.content.protocols import CancelToken
from entrepot.content.verify import VerifiedReader
from entrepot.images.image import Image
from entrepot.images.sink import StoreSink
from entrepot.images.store import ImageStore
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import ImageConfig
from entrepot.oci.manifest import Index
from entrepot.oci.platform import Platform, select_platform
from entrepot.oci.reference import Reference
from entrepot.transfer.copy import copy
from entrepot.transfer.errors import NoMatchingPlatform
from entrepot.transfer.plan import PlatformChoice


@dataclass(frozen=True, slots=True)
class Loaded:
    """One image of an archive that is in the store now."""

    image: Image
    references: tuple[Reference, ...]
    """Its names in the archive, in the archive's order; empty when it had none."""
    displaced: tuple[tuple[Reference, Digest], ...]
    """Names that were taken from another image, and that image's ID."""


def load(
    source: Path | str | BinaryIO,
    *,
    platforms: Sequence[str] = (),
    store: ImageStore | Path | str | None = None,
    on_event: Listener = nobody,
    cancel: CancelToken | None = None,
) -> list[Loaded]:
    """Load every image of an archive: docker's old and new form or OCI, plain or compressed.

    `platforms` are what is taken of an index: the plain image for one, a smaller index for several; an image
    for another platform is an error. All images of the archive are listed in one step, or none.
    Raises FileUnusable, InvalidArchive, VerificationFailed, NoMatchingPlatform.
    """
    place = the_store(store)
    place.prepare()
    choice = PlatformChoice.some([Platform.parse(text) for text in platforms])
    try:
        archive = open_archive(source, tmp=place.paths.tmp)
    except OSError as error:
        if error.filename is None:
            raise
        reason = (error.strerror or "cannot be opened").lower()
        raise FileUnusable(f"open {error.filename}: {reason}") from error
    with archive, StoreSink(place, listed=False) as sink:
        additions = [_bring(archive, image, sink, choice, on_event, cancel) for image in archive.images]
        displaced = [_displaced(place, names, target) for target, names in additions]
        place.add(additions)
    return [
        Loaded(place.resolve(str(target.digest)), tuple(names), moved)
        for (target, names), moved in zip(additions, displaced, strict=True)
    ]


def _bring(
    archive: Archive,
    image: ArchivedImage,
    sink: StoreSink,
    choice: PlatformChoice,
    on_event: Listener,
    cancel: CancelToken | None,
) -> tuple[Descriptor, Sequence[Reference]]:
    if not choice.is_all:
        _require_platform(archive, image, choice)
    result = copy(
        archive,
        sink,
        reference=image.target.digest,
        to=None,
        platforms=choice,
        events=on_event,
        cancel=cancel,
    )
    return result.top.descriptor(), image.references


def _require_platform(archive: Archive, image: ArchivedImage, choice: PlatformChoice) -> None:
    """Raises NoMatchingPlatform for a single image that is for none of the platforms wanted."""
    parsed = archive.get_manifest(image.target.digest).parse()
    if isinstance(parsed, Index) or not parsed.is_image:
        return
    with VerifiedReader(archive.open_blob(parsed.config), parsed.config) as stream:
        platform = ImageConfig.parse(stream.read()).platform
    if all(select_platform([platform], wanted) is None for wanted in choice.wanted):
        name = image.references[0].familiar() if image.references else str(image.target.digest)
        wanted = ", ".join(map(str, choice.wanted))
        raise NoMatchingPlatform(
            f"image {name} in the archive is for {platform}, not for {wanted}",
            hint="leave --platform away to load it as it is",
        )


def _displaced(
    store: ImageStore, names: Sequence[Reference], target: Descriptor
) -> tuple[tuple[Reference, Digest], ...]:
    moved = []
    for name in names:
        before = store.find(name)
        if before is not None and before.target.digest != target.digest:
            config = store.get_manifest(target.digest, target.media_type).parse()
            if getattr(getattr(config, "config", None), "digest", None) != before.id:
                moved.append((name, before.id))
    return tuple(moved)
