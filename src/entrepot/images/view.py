"""One reading of the store: images grouped by ID, and the rules by which a name finds one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from entrepot.errors import Unavailable
from entrepot.images.entries import Entries, NamedTarget, entry_name
from entrepot.images.errors import AmbiguousImage, NoSuchImage
from entrepot.images.facts import Facts, IndexChild, ManifestFacts
from entrepot.images.image import Image
from entrepot.images.times import parse_time
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform, select_platform
from entrepot.oci.reference import Reference, parse_any_reference


class View:
    """One reading of the store: consistent, and cheap to ask many times."""

    def __init__(
        self,
        entries: Entries,
        facts: Facts,
        parents: Mapping[str, str],
        layer_size: Callable[[str], int],
    ) -> None:
        self.entries = entries
        self._facts = facts
        self._parents = parents
        self._layer_size = layer_size
        self._host = Platform.host()
        self._images: list[Image] | None = None

    def images(self) -> list[Image]:
        if self._images is None:
            self._images = [self._image(group) for group in self._groups()]
        return self._images

    def _groups(self) -> list[list[NamedTarget]]:
        groups: dict[str, list[NamedTarget]] = {}
        for entry in self.entries:
            chosen = self._chosen(entry.target)
            if chosen is not None:
                groups.setdefault(chosen[1].image_id or chosen[0], []).append(entry)
        return list(groups.values())

    def resolve(self, name: str) -> Image:
        found = self._resolve_exactly(name)
        if found is not None:
            return found
        prefix = name.removeprefix("sha256:")
        if _is_hex(prefix):
            fitting = [image for image in self.images() if image.id.hex.startswith(prefix)]
            if len(fitting) == 1:
                return fitting[0]
            if fitting:
                raise AmbiguousImage(name, sorted(image.id.short for image in fitting))
        raise NoSuchImage(_familiar(name))

    def _resolve_exactly(self, name: str) -> Image | None:
        reference = parse_any_reference(name)
        if isinstance(reference, Reference):
            entry = self.entries.find(entry_name(reference.with_default_tag()))
            return self.image_of(entry.target) if entry else None
        images = self.images()
        by_id = next((image for image in images if image.id == reference), None)
        if by_id is not None:
            return by_id
        target = self.entries.targets().get(reference)
        return self.image_of(target) if target else None

    def image_of(self, target: Descriptor) -> Image | None:
        """The image a target shows as, with that target."""
        for image in self.images():
            if target.digest in image.targets:
                chosen = self._chosen(target)
                manifest = image.manifest if chosen is None else self._descriptor(target, chosen[0])
                return msgspec.structs.replace(image, target=target, manifest=manifest)
        return None

    def _chosen(self, target: Descriptor) -> tuple[str, ManifestFacts] | None:
        """Digest and facts of the manifest that stands for `target`."""
        text = str(target.digest)
        found = self._facts.manifests.get(text)
        if found is None or not found.children:
            return (text, found) if found is not None else None
        child = self._child(found.children)
        if child is None:  # no image in it: it stands for itself, so that it can be seen and removed
            return text, found
        facts = self._facts.manifests.get(child.digest)
        return (child.digest, facts) if facts is not None else None

    def _child(self, children: tuple[IndexChild, ...]) -> IndexChild | None:
        """The platform `run` would pick, else the first there is; never an attestation."""
        images = [
            (child, Platform.parse(child.platform) if child.platform else None)
            for child in children
            if mediatype.is_image_manifest(child.media_type) and child.platform != "unknown/unknown"
        ]
        at = select_platform([platform for _, platform in images], self._host)
        if at is None:
            return images[0][0] if images else None
        return images[at][0]

    def _descriptor(self, target: Descriptor, chosen: str) -> Descriptor:
        if str(target.digest) == chosen:
            return target
        found = self._facts.manifests[str(target.digest)]
        child = next(child for child in found.children if child.digest == chosen)
        return Descriptor(child.media_type, Digest.parse(child.digest), child.size)

    def _image(self, group: list[NamedTarget]) -> Image:
        entry = next((entry for entry in group if entry.is_tag), group[0])
        chosen = self._chosen(entry.target)
        if chosen is None:
            raise Unavailable(f"{entry.target.digest} has gone while it was read")
        digest, facts = chosen
        image_id = facts.image_id or digest
        moments = [moment for one in group if (moment := parse_time(one.tagged_at))]
        parent = self._parents.get(image_id)
        return Image(
            id=Digest.parse(image_id),
            target=entry.target,
            manifest=self._descriptor(entry.target, digest),
            tags=tuple(sorted(one.reference() for one in group if one.is_tag)),
            repo_digests=tuple(sorted(one.reference() for one in group if one.is_digest_name)),
            created=parse_time(facts.created),
            size=self._size(facts),
            platform=Platform.parse(facts.platform) if facts.platform else None,
            diff_ids=tuple(Digest.parse(text) for text in facts.diff_ids),
            blobs=tuple(Digest.parse(text) for text in facts.blobs),
            parent=Digest.parse(parent) if parent else None,
            tagged_at=max(moments, default=None),
            targets=tuple({one.target.digest: None for one in group}),
        )

    def _size(self, facts: ManifestFacts) -> int:
        if not facts.diff_ids:
            return facts.compressed
        return sum(self._layer_size(layer) for layer in facts.layers)


def image_id(target: Descriptor, facts: Facts) -> Digest:
    """For telling entries of one image: the config's digest, or the index's own."""
    found = facts.manifests.get(str(target.digest))
    return Digest.parse(found.image_id) if found is not None and found.image_id else target.digest


def _is_hex(text: str) -> bool:
    return bool(text) and len(text) <= 64 and all(character in "0123456789abcdef" for character in text)


def _familiar(name: str) -> str:
    reference = parse_any_reference(name)
    return reference.with_default_tag().familiar() if isinstance(reference, Reference) else name
