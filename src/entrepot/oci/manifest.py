"""Manifests and indexes, OCI's and docker's (image-spec: Image Manifest, Image Index; docker schema 2).

`parse_manifest` takes what real tools write: unknown fields, unknown types of config, layers and
children, artifacts, empty layers, inlined `data`, indexes within indexes. It refuses what two readers
could take for two things: `layers` beside `manifests`, a `mediaType` that is not the Content-Type,
duplicate or look-alike fields, sizes that can't be. The raw bytes are the manifest; they stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from entrepot.errors import InvalidInput
from entrepot.oci import mediatype, strictjson
from entrepot.oci.descriptor import (
    NO_ANNOTATIONS,
    Descriptor,
    InvalidDescriptor,
    parse_annotations,
    parse_media_type,
    parse_optional_text,
)
from entrepot.oci.digest import Digest

_FIELDS: Final = strictjson.spelling_table(
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "fsLayers",
)


class InvalidManifest(InvalidInput):
    """The bytes are not a manifest this program can vouch for."""

    code = "invalid-manifest"


class ManifestTooLarge(InvalidManifest):
    """More bytes than a manifest may have."""

    code = "manifest-too-large"


class ManifestLimits(msgspec.Struct, frozen=True):
    """What a single manifest may cost. The defaults are what real images stay far below."""

    max_bytes: int = 4 * 1024 * 1024
    max_depth: int = 32  # of nested JSON values
    max_elements: int = 50_000  # JSON values in lists and objects
    max_layers: int = 1_000
    max_index_width: int = 1_000  # manifests in one index
    max_annotation_bytes: int = 64 * 1024  # key and value of each


DEFAULT: Final = ManifestLimits()


class ImageManifest(msgspec.Struct, frozen=True, eq=False):
    """One image, or any artifact in the shape of an image. Equal when the raw bytes are."""

    raw: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = NO_ANNOTATIONS
    subject: Descriptor | None = None
    artifact_type: str | None = None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ImageManifest) and other.raw == self.raw and other.media_type == self.media_type
        )

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"ImageManifest({self.digest()}, {self.media_type})"

    def digest(self, algorithm: str = "sha256") -> Digest:
        return Digest.of(self.raw, algorithm)

    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest(), len(self.raw))

    @property
    def is_docker(self) -> bool:
        return self.media_type == mediatype.DOCKER_MANIFEST

    @property
    def effective_artifact_type(self) -> str:
        """What referrers are listed and filtered by (distribution-spec: Listing Referrers)."""
        return self.artifact_type or self.config.media_type

    @property
    def is_image(self) -> bool:
        """Whether the config says how to run it."""
        return mediatype.is_config(self.config.media_type)

    def references(self) -> tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]:
        """Blobs and child manifests that must be there, each digest once.

        Layers that others serve (non-distributable, with urls) are not required.
        """
        layers = (
            layer
            for layer in self.layers
            if not (layer.urls and mediatype.is_nondistributable(layer.media_type))
        )
        return _unique((self.config, *layers)), ()


class Index(msgspec.Struct, frozen=True, eq=False):
    """Several manifests under one digest, usually one a platform. Equal when the raw bytes are."""

    raw: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = NO_ANNOTATIONS
    subject: Descriptor | None = None
    artifact_type: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and other.raw == self.raw and other.media_type == self.media_type

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Index({self.digest()}, {self.media_type})"

    def digest(self, algorithm: str = "sha256") -> Digest:
        return Digest.of(self.raw, algorithm)

    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest(), len(self.raw))

    @property
    def is_docker(self) -> bool:
        return self.media_type == mediatype.DOCKER_LIST

    @property
    def effective_artifact_type(self) -> str | None:
        return self.artifact_type

    def references(self) -> tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]:
        """Blobs and child manifests that must be there, each digest once.

        An entry that is no manifest is a blob: buildkit's caches list layers in an index.
        """
        children = (entry for entry in self.manifests if mediatype.is_manifest(entry.media_type))
        blobs = (entry for entry in self.manifests if not mediatype.is_manifest(entry.media_type))
        return _unique(blobs), _unique(children)


def parse_manifest(
    raw: bytes, media_type: str | None, *, limits: ManifestLimits = DEFAULT
) -> ImageManifest | Index:
    """`media_type` is what the sender declared (Content-Type, parameters ignored), None when nothing was.

    Raises InvalidManifest, and nothing else, whatever the bytes.
    """
    if len(raw) > limits.max_bytes:
        raise ManifestTooLarge(f"manifest has {len(raw)} bytes; the limit is {limits.max_bytes}")
    try:
        document = strictjson.loads_object(raw, max_depth=limits.max_depth, max_elements=limits.max_elements)
        strictjson.check_spelling(document, _FIELDS, "manifest")
        declared = mediatype.base_type(media_type) if media_type else None
        return _parse_document(raw, document, declared, limits)
    except (strictjson.InvalidJson, InvalidDescriptor) as error:
        raise InvalidManifest(error.message, hint=error.hint) from error


def build_manifest(
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    media_type: str = mediatype.OCI_MANIFEST,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
    artifact_type: str | None = None,
) -> ImageManifest:
    """New bytes, the same for the same input."""
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type}
    if artifact_type:
        document["artifactType"] = artifact_type
    document["config"] = config.to_json()
    document["layers"] = [layer.to_json() for layer in layers]
    return ImageManifest(
        raw=_finish(document, annotations, subject),
        media_type=media_type,
        config=config,
        layers=tuple(layers),
        annotations=dict(annotations or {}),
        subject=subject,
        artifact_type=artifact_type,
    )


def build_index(
    manifests: Sequence[Descriptor],
    *,
    media_type: str = mediatype.OCI_INDEX,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
    artifact_type: str | None = None,
) -> Index:
    """New bytes, the same for the same input."""
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type}
    if artifact_type:
        document["artifactType"] = artifact_type
    document["manifests"] = [manifest.to_json() for manifest in manifests]
    return Index(
        raw=_finish(document, annotations, subject),
        media_type=media_type,
        manifests=tuple(manifests),
        annotations=dict(annotations or {}),
        subject=subject,
        artifact_type=artifact_type,
    )


def _finish(
    document: dict[str, Any], annotations: Mapping[str, str] | None, subject: Descriptor | None
) -> bytes:
    if subject is not None:
        document["subject"] = subject.to_json()
    if annotations:
        document["annotations"] = dict(annotations)
    return msgspec.json.encode(document)


def _parse_document(
    raw: bytes, document: dict[str, Any], declared: str | None, limits: ManifestLimits
) -> ImageManifest | Index:
    media_type = _effective_media_type(document, declared)
    if type(document.get("schemaVersion")) is not int or document["schemaVersion"] != 2:
        raise InvalidManifest("schemaVersion must be 2")
    subject = document.get("subject")
    common: dict[str, Any] = {
        "annotations": _parse_annotations(document, limits),
        "subject": None if subject is None else Descriptor.from_json(subject, "subject"),
        "artifact_type": parse_media_type(document.get("artifactType"), "artifactType"),
    }
    if _is_index(document, media_type):
        entries = _parse_descriptors(document, "manifests", limits.max_index_width, limits)
        return Index(raw=raw, media_type=media_type, manifests=entries, **common)
    config = Descriptor.from_json(document.get("config"), "config")
    layers = _parse_descriptors(document, "layers", limits.max_layers, limits)
    return ImageManifest(raw=raw, media_type=media_type, config=config, layers=layers, **common)


def _effective_media_type(document: dict[str, Any], declared: str | None) -> str:
    written = parse_optional_text(document.get("mediaType"), "mediaType")
    if declared and written and declared != written:
        raise InvalidManifest(
            f"mediaType {_shown(written)} is not the Content-Type {_shown(declared)}",
            hint="send the manifest with its own media type",
        )
    media_type = declared or written
    if media_type in mediatype.SCHEMA1_MANIFESTS or document.get("schemaVersion") == 1:
        raise InvalidManifest(
            "docker schema 1 manifests are not supported", hint="build or convert the image with a newer tool"
        )
    if media_type:
        if not mediatype.may_be_manifest(media_type):
            raise InvalidManifest(
                f"{_shown(media_type)} is not the media type of a manifest",
                hint=f"send it as what it is, {mediatype.OCI_MANIFEST} or another application/…+json",
            )
        return media_type
    return mediatype.OCI_INDEX if document.get("manifests") is not None else mediatype.OCI_MANIFEST


def _is_index(document: dict[str, Any], media_type: str) -> bool:
    """Decide by fields, then hold the type against them."""
    has_manifests = document.get("manifests") is not None
    has_image = document.get("layers") is not None or document.get("config") is not None
    if has_manifests and has_image:
        raise InvalidManifest("a manifest can't have both manifests and layers or a config")
    if document.get("fsLayers") is not None:
        raise InvalidManifest("a manifest can't have fsLayers of docker schema 1")
    if mediatype.is_index(media_type) and has_image:
        raise InvalidManifest(f"{media_type} can't have layers or a config")
    if mediatype.is_image_manifest(media_type) and has_manifests:
        raise InvalidManifest(f"{media_type} can't have manifests")
    if not has_manifests and not has_image and not mediatype.is_index(media_type):
        raise InvalidManifest("a manifest needs a config and layers, an index needs manifests")
    return has_manifests or mediatype.is_index(media_type)


def _parse_descriptors(
    document: dict[str, Any], key: str, most: int, limits: ManifestLimits
) -> tuple[Descriptor, ...]:
    values = document.get(key)
    if values is None:
        if key in document or key == "layers":  # Go writes an empty list as null
            return ()
        raise InvalidManifest(f"{key} is missing")
    if not isinstance(values, list):
        raise InvalidManifest(f"{key} must be a list")
    if len(values) > most:
        raise InvalidManifest(f"{key} has {len(values)} entries; the limit is {most}")
    descriptors = tuple(
        Descriptor.from_json(value, f"{key}[{position}]") for position, value in enumerate(values)
    )
    for position, descriptor in enumerate(descriptors):
        _check_annotations(descriptor.annotations, f"{key}[{position}]", limits)
    return descriptors


def _parse_annotations(document: dict[str, Any], limits: ManifestLimits) -> Mapping[str, str]:
    annotations = parse_annotations(document.get("annotations"), "manifest")
    _check_annotations(annotations, "manifest", limits)
    return annotations


def _check_annotations(annotations: Mapping[str, str], where: str, limits: ManifestLimits) -> None:
    for key, value in annotations.items():
        if len(key.encode()) + len(value.encode()) > limits.max_annotation_bytes:
            raise InvalidManifest(
                f"{where}: annotation {_shown(key)} is longer than {limits.max_annotation_bytes} bytes"
            )


def _unique(descriptors: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    found: dict[Digest, Descriptor] = {}
    for descriptor in descriptors:
        found.setdefault(descriptor.digest, descriptor)
    return tuple(found.values())


def _shown(text: str) -> str:
    clean = text.encode("unicode_escape").decode("ascii")
    return clean if len(clean) <= 120 else clean[:117] + "..."
