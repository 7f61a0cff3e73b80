"""Archives in the shape of an OCI image layout: `oci-layout`, `index.json`, `blobs/<algorithm>/<hex>`.

docker writes such archives since version 25, with `manifest.json` beside it; podman, skopeo, buildah and
buildkit write the plain form. An index may list platforms whose content is not in the archive; it then
stands for the image that is.
"""

from __future__ import annotations

from typing import NamedTuple

from entrepot.archive.errors import InvalidArchive
from entrepot.archive.names import ArchivedImage
from entrepot.archive.tarfile import Member, TarArchive
from entrepot.content.errors import BlobNotFound, ManifestNotFound
from entrepot.content.protocols import BlobStream, ManifestBytes
from entrepot.content.verify import verify_bytes
from entrepot.layout.errors import InvalidLayout
from entrepot.layout.index import MAX_INDEX_BYTES, LayoutEntry, check_layout_file, parse_index
from entrepot.oci import manifest as manifests
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest, Index, InvalidManifest, parse_manifest
from entrepot.oci.platform import Platform, select_platform
from entrepot.oci.reference import Reference

MAX_DEPTH = 8


class _Checked(NamedTuple):
    """What is known of a manifest in the archive."""

    missing: Digest | None
    """What is not there of all it needs."""
    levels: int
    """Of manifests below it."""


class OciContent:
    """Manifests and blobs of an archive by digest."""

    def __init__(self, tar: TarArchive) -> None:
        self._tar = tar
        self._media_types: dict[Digest, str] = {}
        self._checked: dict[Digest, _Checked] = {}

    def images(self) -> list[ArchivedImage]:
        """In the order of `index.json`; entries of one manifest are one image with several names.

        Raises InvalidArchive, also when content of an image is missing.
        """
        grouped: dict[Digest, list[LayoutEntry]] = {}
        for entry in self._entries():
            grouped.setdefault(entry.descriptor.digest, []).append(entry)
        found: dict[Digest, ArchivedImage] = {}
        for entries in grouped.values():
            image = self._image(entries)
            known = found.get(image.target.digest)
            found[image.target.digest] = image if known is None else _merged(known, image)
        return list(found.values())

    def get_manifest(self, digest: Digest) -> ManifestBytes:
        raw = self._read(digest)
        media_type = self._media_types.get(digest) or parse_manifest(raw, None).media_type
        return ManifestBytes(raw, media_type, digest)

    def open_blob(self, descriptor: Descriptor, offset: int) -> BlobStream:
        member = self._find(descriptor.digest)
        if member is None:
            raise BlobNotFound(f"{self._tar.label} has no blob {descriptor.digest}")
        return self._tar.stream(member, offset)

    def _entries(self) -> list[LayoutEntry]:
        try:
            check_layout_file(self._tar.read("oci-layout", 4096) or b"")
            return list(parse_index(self._tar.read("index.json", MAX_INDEX_BYTES) or b""))
        except InvalidLayout as error:
            raise InvalidArchive(f"{self._tar.label}: {error.message}") from error

    def _image(self, entries: list[LayoutEntry]) -> ArchivedImage:
        target, parsed = self._available(entries[0].target())
        references: dict[Reference, None] = {}
        ref_names: dict[str, None] = {}
        for entry in entries:
            if (reference := entry.reference()) is not None:
                references[reference] = None
            if entry.ref_name is not None:
                ref_names[entry.ref_name] = None
        return ArchivedImage(target, self._image_id(parsed), tuple(references), tuple(ref_names))

    def _available(self, target: Descriptor) -> tuple[Descriptor, ImageManifest | Index]:
        """The target itself when it is whole; for an index that is not, the best image that is."""
        parsed = self._parse(target)
        missing = self._missing(target)
        if missing is None:
            return target, parsed
        if isinstance(parsed, Index):
            children = [child for child in parsed.manifests if self._is_whole_image(child)]
            at = select_platform([child.platform for child in children], Platform.host())
            if children:
                child = children[at or 0]
                return child, self._parse(child)
        raise InvalidArchive(
            f"{self._tar.label} is not whole: {missing} is missing, which {target.digest} needs"
        )

    def _is_whole_image(self, child: Descriptor) -> bool:
        is_image = mediatype.is_image_manifest(child.media_type)
        is_attestation = child.platform is not None and child.platform.is_unknown
        return is_image and not is_attestation and self._missing(child) is None

    def _missing(self, descriptor: Descriptor) -> Digest | None:
        """The first thing under a manifest that is not there."""
        return self._check(descriptor, 0).missing

    def _check(self, descriptor: Descriptor, depth: int) -> _Checked:
        """Each once: through indexes that share their children there are more ways than could be gone."""
        if self._find(descriptor.digest) is None:
            return _Checked(descriptor.digest, 0)
        known = self._checked.get(descriptor.digest)
        if depth + (known.levels if known else 0) > MAX_DEPTH:
            raise InvalidArchive(f"{self._tar.label}: {descriptor.digest} is nested too deep")
        if known is None:
            known = self._checked[descriptor.digest] = self._check_below(descriptor, depth)
        return known

    def _check_below(self, descriptor: Descriptor, depth: int) -> _Checked:
        blobs, children = self._parse(descriptor).references()
        levels = 0
        for blob in blobs:
            if not self._has(blob):
                return _Checked(blob.digest, levels)
        for child in children:
            found = self._check(child, depth + 1)
            levels = max(levels, 1 + found.levels)
            if found.missing is not None:
                return _Checked(found.missing, levels)
        return _Checked(None, levels)

    def _has(self, blob: Descriptor) -> bool:
        member = self._find(blob.digest)
        if member is not None and member.size != blob.size:
            raise InvalidArchive(
                f"{self._tar.label}: {blob.digest} has {member.size} bytes, its manifest says {blob.size}"
            )
        return member is not None

    def _parse(self, descriptor: Descriptor) -> ImageManifest | Index:
        raw = self._read(descriptor.digest)
        try:
            verify_bytes(raw, descriptor)
            parsed = parse_manifest(raw, descriptor.media_type)
        except InvalidManifest as error:
            raise InvalidArchive(f"{self._tar.label}: {descriptor.digest}: {error.message}") from error
        self._media_types[descriptor.digest] = parsed.media_type
        return parsed

    def _image_id(self, parsed: ImageManifest | Index) -> Digest | None:
        if isinstance(parsed, ImageManifest):
            return parsed.config.digest if parsed.is_image else None
        images = [child for child in parsed.manifests if self._is_whole_image(child)]
        at = select_platform([child.platform for child in images], Platform.host())
        return self._image_id(self._parse(images[at or 0])) if images else None

    def _read(self, digest: Digest) -> bytes:
        raw = self._tar.read(_path(digest), manifests.DEFAULT.max_bytes)
        if raw is None:
            raise ManifestNotFound(f"{self._tar.label} has no manifest {digest}")
        return raw

    def _find(self, digest: Digest) -> Member | None:
        return self._tar.find(_path(digest))


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _merged(known: ArchivedImage, other: ArchivedImage) -> ArchivedImage:
    return ArchivedImage(
        known.target,
        known.image_id,
        tuple(dict.fromkeys((*known.references, *other.references))),
        tuple(dict.fromkeys((*known.ref_names, *other.ref_names))),
    )
