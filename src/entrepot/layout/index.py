"""`index.json` of an image layout as a value: descriptors and the names they carry. Pure.

A name is the annotation `org.opencontainers.image.ref.name`: by the specification a tag or any other
text without spaces. containerd, docker and buildkit write the full name beside it, in
`io.containerd.image.name`, and the tag alone in the specified one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct, structs

from entrepot.layout.errors import AmbiguousName, InvalidLayout
from entrepot.oci import annotations as keys
from entrepot.oci import mediatype, strictjson
from entrepot.oci.descriptor import Descriptor, InvalidDescriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import InvalidReference, Reference

MAX_INDEX_BYTES: Final = 64 * 1024 * 1024
_MAX_ELEMENTS: Final = 4_000_000

OCI_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


class LayoutEntry(Struct, frozen=True):
    """One line of `index.json`."""

    descriptor: Descriptor

    @property
    def ref_name(self) -> str | None:
        return self.descriptor.annotations.get(keys.REF_NAME) or None

    @property
    def full_name(self) -> str | None:
        return self.descriptor.annotations.get(keys.CONTAINERD_IMAGE_NAME) or None

    def reference(self) -> Reference | None:
        """The image's name as docker reads it: the full one, else the tag taken for a name."""
        text = self.full_name or self.ref_name
        if text is None:
            return None
        try:
            return Reference.parse(text).with_default_tag()
        except InvalidReference:
            return None

    def answers_to(self, name: str) -> bool:
        """Whether `name` is its tag, its name in full, or its name as people write it."""
        if name in (self.ref_name, self.full_name):
            return True
        own = self.reference()
        try:
            wanted = Reference.parse(name).with_default_tag()
        except InvalidReference:
            return False
        return own is not None and self.full_name is not None and own == wanted

    def target(self) -> Descriptor:
        """The descriptor without the names."""
        kept = {
            key: value
            for key, value in self.descriptor.annotations.items()
            if key not in (keys.REF_NAME, keys.CONTAINERD_IMAGE_NAME)
        }
        return structs.replace(self.descriptor, annotations=kept)


class LayoutIndex(Struct, frozen=True):
    """All of `index.json`. Every change gives a new value; fields this program doesn't know stay."""

    entries: tuple[LayoutEntry, ...] = ()
    extra: dict[str, Any] = {}

    @classmethod
    def of(cls, document: IndexDocument) -> LayoutIndex:
        """Raises InvalidLayout."""
        try:
            entries = [
                LayoutEntry(Descriptor.from_json(item, f"index.json: manifests[{position}]"))
                for position, item in enumerate(document.items)
            ]
        except InvalidDescriptor as error:
            raise InvalidLayout(error.message) from error
        return cls(tuple(entries), document.extra)

    def document(self) -> IndexDocument:
        """The inverse of `of`."""
        return IndexDocument([entry.descriptor.to_json() for entry in self.entries], self.extra)

    def __iter__(self) -> Iterator[LayoutEntry]:
        return iter(self.entries)

    def find(self, name: str | Digest) -> LayoutEntry | None:
        """By digest, or by name; with an empty name the only image there is.

        Raises AmbiguousName when several different manifests answer.
        """
        if isinstance(name, Digest):
            return next((entry for entry in self.entries if entry.descriptor.digest == name), None)
        if name:
            exact = [entry for entry in self.entries if entry.ref_name == name]
            found = exact or [entry for entry in self.entries if entry.answers_to(name)]
        else:
            found = [entry for entry in self.entries if not _is_referrer(entry)] or list(self.entries)
        if len({entry.descriptor.digest for entry in found}) > 1:
            known = ", ".join(sorted({entry.full_name or entry.ref_name or "<unnamed>" for entry in found}))
            what = f"several images are named {name}" if name else "there is more than one image"
            raise AmbiguousName(f"{what}: {known}", hint="name one of them")
        return found[0] if found else None

    def names(self) -> list[str]:
        """Every ref name, in byte order."""
        return sorted({entry.ref_name for entry in self.entries if entry.ref_name})

    def with_name(self, name: str | None, target: Descriptor, *, full_name: str | None = None) -> LayoutIndex:
        """`name` points to `target` alone; without a name the target is listed unless it is already."""
        if name is None:
            if any(entry.descriptor.digest == target.digest for entry in self.entries):
                return self
            return structs.replace(self, entries=(*self.entries, LayoutEntry(target)))
        named = {**target.annotations, keys.REF_NAME: name}
        if full_name is not None:
            named[keys.CONTAINERD_IMAGE_NAME] = full_name
        kept = [
            entry
            for entry in self.entries
            if not _is_same_name(entry, name, full_name)
            and not (entry.ref_name is None and entry.descriptor.digest == target.digest)
        ]
        added = LayoutEntry(structs.replace(target, annotations=named))
        return structs.replace(self, entries=(*kept, added))

    def without_name(self, name: str) -> LayoutIndex:
        return structs.replace(self, entries=tuple(entry for entry in self.entries if entry.ref_name != name))

    def without_digest(self, digest: Digest) -> LayoutIndex:
        kept = tuple(entry for entry in self.entries if entry.descriptor.digest != digest)
        return structs.replace(self, entries=kept)


class IndexDocument(NamedTuple):
    """`index.json` as JSON. What its lines mean is for who reads them."""

    items: list[dict[str, Any]]
    extra: dict[str, Any]
    """The fields beside them."""


def parse_document(raw: bytes, *, trusted: bool = False) -> IndexDocument:
    """Raises InvalidLayout.

    `trusted` is for a file only this program writes: strictness against strangers (see `oci.strictjson`)
    takes half of the time of 10,000 entries, and the local store reads its index for every command.
    """
    if len(raw) > MAX_INDEX_BYTES:
        raise InvalidLayout(f"index.json has {len(raw)} bytes; the limit is {MAX_INDEX_BYTES}")
    try:
        if trusted:
            document = msgspec.json.decode(raw, type=dict[str, Any])
        else:
            document = strictjson.loads_object(raw, max_elements=_MAX_ELEMENTS)
    except msgspec.MsgspecError as error:
        raise InvalidLayout(f"index.json: {error}") from error
    except strictjson.InvalidJson as error:
        raise InvalidLayout(f"index.json: {error.message}") from error
    items = document.pop("manifests", None) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidLayout("index.json: manifests must be a list of objects")
    if document.get("schemaVersion") != 2:
        raise InvalidLayout("index.json: schemaVersion must be 2")
    return IndexDocument(items, document)


def print_document(document: IndexDocument) -> bytes:
    """The inverse of `parse_document`; the same value gives the same bytes."""
    head = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, **document.extra}
    return msgspec.json.encode({**head, "manifests": document.items})


def parse_index(raw: bytes) -> LayoutIndex:
    """Raises InvalidLayout."""
    return LayoutIndex.of(parse_document(raw))


def print_index(index: LayoutIndex) -> bytes:
    """The inverse of `parse_index`."""
    return print_document(index.document())


def build_layout_index(images: Iterable[tuple[Descriptor, Sequence[Reference]]]) -> LayoutIndex:
    """As docker writes it: an entry for each name, one without for an image that has none."""
    index = LayoutIndex()
    for target, references in images:
        if not references:
            index = index.with_name(None, target)
        for reference in references:
            tag = reference.with_default_tag()
            index = index.with_name(tag.tag, target, full_name=str(tag.with_digest(None)))
    return index


def check_layout_file(raw: bytes) -> None:
    """Of `oci-layout`. Raises InvalidLayout for a version this program doesn't know."""
    try:
        version = strictjson.loads_object(raw).get("imageLayoutVersion")
    except strictjson.InvalidJson as error:
        raise InvalidLayout(f"oci-layout: {error.message}") from error
    if not isinstance(version, str) or not version.startswith("1."):
        raise InvalidLayout("oci-layout: the version of the layout is not 1.x")


def _is_same_name(entry: LayoutEntry, name: str, full_name: str | None) -> bool:
    """Tags of different repositories are different names, where full names are given."""
    if entry.ref_name != name:
        return False
    return full_name is None or entry.full_name is None or entry.full_name == full_name


def _is_referrer(entry: LayoutEntry) -> bool:
    """An unnamed line beside named ones: something about an image, no image."""
    return entry.ref_name is None and entry.descriptor.artifact_type is not None
