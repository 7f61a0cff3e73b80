"""How the store uses `index.json`: which names point to which manifest. Pure; `layout` reads and writes it.

An entry is one line of the layout's index. Its `org.opencontainers.image.ref.name` is the full name of a tag
(`docker.io/library/nginx:1.15`) or, for what docker calls a RepoDigest, of a digest
(`docker.io/library/nginx@sha256:…`). An image that has neither is an entry without a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from entrepot.layout.index import IndexDocument
from entrepot.oci.annotations import REF_NAME
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference

TAGGED_AT = "dev.entrepot.tagged-at"


class NamedTarget(msgspec.Struct, frozen=True):
    """One line of `index.json`: a manifest or index that is complete, and what it is called."""

    target: Descriptor
    """Without annotations of ours."""
    name: str | None = None
    tagged_at: str | None = None
    """RFC 3339, when the name was last pointed here."""

    @property
    def is_digest_name(self) -> bool:
        return self.name is not None and "@" in self.name

    @property
    def is_tag(self) -> bool:
        return self.name is not None and "@" not in self.name

    def reference(self) -> Reference:
        """The name as a value. Only for entries that have one. Raises ValueError."""
        if self.name is None:
            raise ValueError("an unnamed entry has no reference")
        return Reference.parse(self.name)

    @classmethod
    def from_json(cls, item: dict[str, Any]) -> NamedTarget:
        """Raises InvalidDescriptor."""
        annotations = item.get("annotations")
        if not isinstance(annotations, dict):
            return cls(Descriptor.from_json(item, "index.json"))
        rest = dict(annotations)
        name, tagged_at = rest.pop(REF_NAME, None), rest.pop(TAGGED_AT, None)
        return cls(Descriptor.from_json({**item, "annotations": rest}, "index.json"), name, tagged_at)

    def to_json(self) -> dict[str, Any]:
        ours = {REF_NAME: self.name, TAGGED_AT: self.tagged_at}
        annotations = {**self.target.annotations, **{key: value for key, value in ours.items() if value}}
        item = self.target.to_json()
        item.pop("annotations", None)
        return {**item, "annotations": annotations} if annotations else item


class Entries(msgspec.Struct, frozen=True):
    """All of `index.json`. Every change gives a new value."""

    items: tuple[NamedTarget, ...] = ()

    @classmethod
    def of(cls, document: IndexDocument) -> Entries:
        """Raises InvalidDescriptor."""
        return cls(tuple(map(NamedTarget.from_json, document.items)))

    def document(self) -> IndexDocument:
        """The inverse of `of`."""
        return IndexDocument([entry.to_json() for entry in self.items], {})

    def __iter__(self) -> Iterator[NamedTarget]:
        return iter(self.items)

    def find(self, name: str) -> NamedTarget | None:
        return next((entry for entry in self.items if entry.name == name), None)

    def targets(self) -> dict[Digest, Descriptor]:
        return {entry.target.digest: entry.target for entry in self.items}

    def with_names(self, names: Iterable[str], target: Descriptor, *, tagged_at: str) -> Entries:
        """Point the names to `target`. What a name pointed to before stays, unnamed if need be."""
        wanted = dict.fromkeys(names)
        kept, displaced = [], []
        for entry in self.items:
            if entry.name not in wanted or entry.name is None:
                kept.append(entry)
            elif entry.target.digest == target.digest:
                kept.append(entry)
                wanted.pop(entry.name)
            else:
                displaced.append(NamedTarget(entry.target))
        added = [NamedTarget(target, name, None if "@" in name else tagged_at) for name in wanted]
        if not wanted and not any(entry.target.digest == target.digest for entry in kept):
            added = [NamedTarget(target)]
        return Entries((*kept, *added, *displaced))

    def with_target(self, before: Digest, target: Descriptor) -> Entries:
        """Point everything but names by digest from one manifest to another of the same image."""
        moved = (
            msgspec.structs.replace(entry, target=target)
            if entry.target.digest == before and not entry.is_digest_name
            else entry
            for entry in self.items
        )
        return Entries(tuple(moved))

    def without_names(self, names: Iterable[str]) -> Entries:
        """Forget names. Their manifests stay, unnamed if need be."""
        gone = set(names)
        kept = [entry for entry in self.items if entry.name is None or entry.name not in gone]
        displaced = [NamedTarget(entry.target) for entry in self.items if entry.name in gone and entry.name]
        return Entries((*kept, *displaced))

    def without_targets(self, targets: Iterable[Digest]) -> Entries:
        """Forget manifests under all their names."""
        gone = set(targets)
        return Entries(tuple(entry for entry in self.items if entry.target.digest not in gone))

    def tidied(self, image_id: Callable[[Descriptor], Digest]) -> Entries:
        """Drop unnamed entries of images that have a name, and repetitions. Order is kept."""
        if all(entry.name is not None for entry in self.items):
            return self
        named = {image_id(entry.target) for entry in self.items if entry.name is not None}
        kept, seen = [], set()
        for entry in self.items:
            if entry.name is None:
                identity = image_id(entry.target)
                if identity in named or identity in seen:
                    continue
                seen.add(identity)
            kept.append(entry)
        return Entries(tuple(kept))


def entry_name(reference: Reference) -> str:
    """How `index.json` names a reference: one with a digest is a name by digest, whatever its tag."""
    if reference.digest is not None:
        return f"{reference.name}@{reference.digest}"
    return str(reference)
