"""Which image of an archive is meant. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from entrepot.archive.errors import AmbiguousArchive, NotInArchive
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import InvalidReference, Reference


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """One image (or index of several platforms) of an archive and what it is called there."""

    target: Descriptor
    image_id: Digest | None
    """Digest of the config; of an index, of the image for this machine; None for what is no image."""
    references: tuple[Reference, ...] = ()
    ref_names: tuple[str, ...] = ()
    """Names as an OCI archive writes them: usually tags."""


def find_image(images: Sequence[ArchivedImage], name: str, label: str) -> ArchivedImage:
    """By name in full or as people write it, by ref name, by `@0` (its place), by tag when that is enough.

    An empty name is the only image there is. Raises NotInArchive, AmbiguousArchive.
    """
    if not name:
        found = list(images)
    elif name.startswith("@") and name[1:].isdecimal():
        found = list(images[int(name[1:]) :][:1])
    else:
        found = _named(images, name)
    if len({image.target.digest for image in found}) == 1:
        return found[0]
    known = ", ".join(sorted(_known(images))) or "none has a name"
    if not found:
        raise NotInArchive(f"{label} has no image {name or 'at all'}", hint=f"it has: {known}")
    raise AmbiguousArchive(f"{label} has several images", hint=f"name one of: {known}")


def _named(images: Sequence[ArchivedImage], name: str) -> list[ArchivedImage]:
    try:
        wanted = Reference.parse(name).with_default_tag()
    except InvalidReference:
        wanted = None
    exact = [image for image in images if name in image.ref_names or wanted in image.references]
    if exact:
        return exact
    return [image for image in images if any(reference.tag == name for reference in image.references)]


def _known(images: Sequence[ArchivedImage]) -> set[str]:
    references = {reference.familiar() for image in images for reference in image.references}
    return references or {name for image in images for name in image.ref_names}
