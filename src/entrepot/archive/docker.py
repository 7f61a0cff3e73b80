"""Archives with a `manifest.json`: `docker save` before version 25, podman, skopeo, buildah, crane, bazel.

    manifest.json   [{"Config": PATH, "RepoTags": [NAME, …] or null, "Layers": [PATH, …]}, …]

Paths are whatever the writer liked. Such an archive has no image manifest, so one is made, in OCI's
types: config and layers stay byte for byte, and the image ID with them. Layers may be compressed, and
then nothing in the archive says what their digest is: they are read once, and their content is held
against the diff IDs of the config on the way.
"""

from __future__ import annotations

import re
from typing import Any, Final

from entrepot.archive.errors import InvalidArchive
from entrepot.archive.names import ArchivedImage
from entrepot.archive.tarfile import Member, MemberStream, TarArchive
from entrepot.content.errors import BlobNotFound, ManifestNotFound
from entrepot.content.protocols import BlobStream, ManifestBytes
from entrepot.layers.compression import plain_chunks, prefetched, sniff_compression
from entrepot.layers.errors import InvalidLayer, LayerLimitExceeded
from entrepot.oci import imageconfig, mediatype, strictjson
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.imageconfig import ImageConfig, InvalidImageConfig
from entrepot.oci.manifest import DEFAULT, build_manifest
from entrepot.oci.reference import InvalidReference, Reference

MAX_MANIFEST_BYTES: Final = 16 * 1024 * 1024
_MAX_ELEMENTS: Final = 1_000_000

_BLOB_PATH: Final = re.compile(r"(?:\./)?blobs/(sha256|sha512)/([0-9a-f]+)")
_CONFIG_NAME: Final = re.compile(r"(?:.*/)?(?:sha256:)?([0-9a-f]{64})(?:\.json)?")
_LAYER_TYPES: Final = {
    None: mediatype.OCI_LAYER,
    "gzip": mediatype.OCI_LAYER_GZIP,
    "zstd": mediatype.OCI_LAYER_ZSTD,
}


class DockerItem:
    """One object of `manifest.json`, its types checked."""

    __slots__ = ("config", "layers", "references")

    def __init__(self, obj: Any, label: str) -> None:
        """Raises InvalidArchive."""
        if not isinstance(obj, dict) or not isinstance(obj.get("Config"), str):
            raise InvalidArchive(f"{label}: manifest.json has an image without a config")
        self.config: str = obj["Config"]
        self.layers = _texts(obj.get("Layers"), label)
        self.references = tuple(_reference(name, label) for name in _texts(obj.get("RepoTags"), label))


def read_items(tar: TarArchive) -> list[DockerItem]:
    """Of `manifest.json`. Raises InvalidArchive."""
    raw = tar.read("manifest.json", MAX_MANIFEST_BYTES)
    try:
        items = strictjson.loads(raw or b"", max_elements=_MAX_ELEMENTS)
    except strictjson.InvalidJson as error:
        raise InvalidArchive(f"{tar.label}: manifest.json: {error.message}") from error
    if not isinstance(items, list):
        raise InvalidArchive(f"{tar.label}: manifest.json is not a list of images")
    return [DockerItem(item, tar.label) for item in items]


def read_config(tar: TarArchive, item: DockerItem) -> ImageConfig:
    """Raises InvalidArchive when it is missing, damaged, or not the one its name promises."""
    raw = tar.read(item.config, imageconfig.MAX_BYTES)
    if raw is None:
        raise InvalidArchive(f"{tar.label} is not whole: the image config {item.config} is missing")
    try:
        config = ImageConfig.parse(raw)
    except InvalidImageConfig as error:
        raise InvalidArchive(f"{tar.label}: {item.config}: {error.message}") from error
    promised = _CONFIG_NAME.fullmatch(item.config)
    if promised is not None and promised[1] != config.digest.hex:
        raise InvalidArchive(f"{tar.label}: {item.config} holds another content, {config.digest}")
    return config


class DockerContent:
    """Manifests made for the images of `manifest.json`, and blobs by digest."""

    def __init__(self, tar: TarArchive) -> None:
        self._tar = tar
        self._manifests: dict[Digest, ManifestBytes] = {}
        self._blobs: dict[Digest, Member] = {}
        self._layers: dict[tuple[Member, Digest], Descriptor] = {}

    def images(self) -> list[ArchivedImage]:
        """In the order of `manifest.json`. Raises InvalidArchive."""
        found: dict[Digest, ArchivedImage] = {}
        for item in read_items(self._tar):
            image = self._image(item)
            known = found.get(image.target.digest)
            references = (*(known.references if known else ()), *image.references)
            found[image.target.digest] = ArchivedImage(
                image.target, image.image_id, tuple(dict.fromkeys(references))
            )
        return list(found.values())

    def get_manifest(self, digest: Digest) -> ManifestBytes:
        manifest = self._manifests.get(digest)
        if manifest is None:
            raise ManifestNotFound(f"{self._tar.label} has no manifest {digest}")
        return manifest

    def open_blob(self, descriptor: Descriptor, offset: int) -> BlobStream:
        member = self._blobs.get(descriptor.digest)
        if member is None:
            raise BlobNotFound(f"{self._tar.label} has no blob {descriptor.digest}")
        return self._tar.stream(member, offset)

    def _image(self, item: DockerItem) -> ArchivedImage:
        label, config = self._tar.label, read_config(self._tar, item)
        if len(item.layers) != len(config.diff_ids):
            raise InvalidArchive(
                f"{label}: invalid manifest, layers length mismatch: "
                f"expected {len(config.diff_ids)}, got {len(item.layers)}"
            )
        if len(item.layers) > DEFAULT.max_layers:
            raise InvalidArchive(f"{label}: {len(item.layers)} layers; the limit is {DEFAULT.max_layers}")
        layers = [
            self._layer(position, path, diff_id)
            for position, (path, diff_id) in enumerate(zip(item.layers, config.diff_ids, strict=True))
        ]
        described = Descriptor(mediatype.OCI_CONFIG, config.digest, len(config.raw))
        member = self._tar.find(item.config)
        assert member is not None, "read_config has read it"
        self._blobs[config.digest] = member
        manifest = build_manifest(described, layers)
        self._manifests[manifest.digest()] = ManifestBytes.from_manifest(manifest)
        return ArchivedImage(manifest.descriptor(), config.digest, item.references)

    def _layer(self, position: int, path: str, diff_id: Digest) -> Descriptor:
        member = self._tar.find(path)
        if member is None:
            raise InvalidArchive(f"{self._tar.label} is not whole: the layer {path} is missing")
        known = self._layers.get((member, diff_id))
        if known is not None:
            return known
        head = self._tar.stream(member).read(4)
        compression = sniff_compression(head)
        declared = _BLOB_PATH.fullmatch(path)
        if compression is None:
            digest = diff_id  # whoever takes the blob verifies it
        elif declared is not None:
            digest = Digest(declared[1], declared[2])
        else:
            digest = self._read_compressed(position, member, diff_id)
        descriptor = Descriptor(_LAYER_TYPES[compression], digest, member.size)
        self._layers[member, diff_id] = descriptor
        self._blobs[digest] = member
        return descriptor

    def _read_compressed(self, position: int, member: Member, diff_id: Digest) -> Digest:
        """The layer's own digest, once its content has been found to be right."""
        stored, plain = _HashingStream(self._tar.stream(member)), Hasher(diff_id.algorithm)
        try:
            for chunk in prefetched(plain_chunks(stored)):
                plain.update(chunk)
        except (InvalidLayer, LayerLimitExceeded) as error:
            raise InvalidArchive(f"{self._tar.label}: layer {position}: {error.message}") from error
        if plain.digest() != diff_id:
            raise InvalidArchive(
                f"{self._tar.label}: invalid diffID for layer {position}: "
                f'expected "{diff_id}", got "{plain.digest()}"'
            )
        return stored.hasher.digest()


class _HashingStream:
    """Hashes what is read, as it is read."""

    def __init__(self, stream: MemberStream) -> None:
        self._stream = stream
        self.hasher = Hasher()

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.hasher.update(data)
        return data


def _texts(value: object, label: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArchive(f"{label}: RepoTags and Layers of manifest.json must be lists of texts")
    return tuple(value)


def _reference(name: str, label: str) -> Reference:
    try:
        reference = Reference.parse(name)
    except InvalidReference as error:
        shown = name[:200].encode("unicode_escape").decode("ascii")
        raise InvalidArchive(f'{label}: "{shown}" is no image name: {error.message}') from error
    if reference.tag is None or reference.digest is not None:
        raise InvalidArchive(f"{label}: {name} in RepoTags has no tag")
    return reference
