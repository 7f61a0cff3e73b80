"""Indexes in the making: what `manifest create` starts, `annotate` changes and `push` sends.

<store>/entrepot/manifests/<name, escaped>.json     one list; several may be in progress at once

An entry remembers where its image comes from; nothing but manifests and configs is fetched until the push.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from entrepot.actions.endpoints import Ends, open_origin, parse_endpoint
from entrepot.content.errors import GraphTooLarge
from entrepot.content.graph import MAX_MANIFEST_BYTES
from entrepot.content.protocols import ManifestBytes
from entrepot.errors import Conflict, EntrepotError, InvalidInput, NotFound, Unavailable
from entrepot.files import locked, make_private, replace_file
from entrepot.images.store import ImageStore
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.imageconfig import ImageConfig, InvalidImageConfig
from entrepot.oci.manifest import ImageManifest, Index, build_index
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference

_MAX_CONFIG_BYTES = 8 << 20
SCHEMES = ("docker://", "store:", "oci:", "oci-archive:", "docker-archive:", "docker-daemon:")
"""What a place begins with that is not meant as a plain name."""

SUPPORTED_PLATFORMS = frozenset(
    (os, architecture)
    for os, architectures in {
        "darwin": ("386", "amd64", "arm", "arm64"),
        "dragonfly": ("amd64",),
        "freebsd": ("386", "amd64", "arm", "arm64"),
        "linux": (
            "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x",
        ),
        "netbsd": ("386", "amd64", "arm"),
        "openbsd": ("386", "amd64", "arm"),
        "plan9": ("386", "amd64"),
        "solaris": ("amd64",),
        "wasip1": ("wasm",),
        "windows": ("386", "amd64", "arm", "arm64"),
    }.items()
    for architecture in architectures
)  # fmt: skip
"""What `annotate` lets through."""


class NoSuchManifestList(NotFound):
    """No list in progress has the name."""

    code: ClassVar[str] = "no-such-manifest-list"
    bare = True

    def __init__(self, name: str) -> None:
        super().__init__(f"No such manifest: {name}")


class ManifestNotInList(NotFound):
    """The image is no entry of the list."""

    code: ClassVar[str] = "manifest-not-in-list"
    bare = True

    def __init__(self, image: str, name: str) -> None:
        super().__init__(f"manifest for image {image} does not exist in {name}")


class ManifestListExists(Conflict):
    """A list of the name is in progress already."""

    code: ClassVar[str] = "manifest-list-exists"
    bare = True

    def __init__(self) -> None:
        super().__init__("refusing to amend an existing manifest list with no --amend flag")


class UnsupportedPlatform(InvalidInput):
    """An operating system and architecture that do not go together."""

    code: ClassVar[str] = "unsupported-platform"
    bare = True

    def __init__(self, platform: Platform) -> None:
        super().__init__(
            "manifest entry for image has unsupported os/arch combination: "
            f"{platform.os}/{platform.architecture}"
        )


class NoPlatform(InvalidInput):
    """An image that says nothing of its platform cannot be chosen from an index."""

    code: ClassVar[str] = "no-platform"
    bare = True

    def __init__(self, name: str) -> None:
        super().__init__(f"manifest {name} must have an OS and Architecture to be pushed to a registry")


class ListEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One image of a list."""

    ref: str
    """The name it was added under, in full."""
    source: str
    """Where it is, as an endpoint is written."""
    descriptor: dict[str, object]
    """As in the index that will be pushed."""
    raw: str
    """The manifest's bytes, base 64."""

    def parsed(self) -> Descriptor:
        return Descriptor.from_json(self.descriptor)

    def manifest(self) -> bytes:
        return base64.b64decode(self.raw)


class ManifestList(msgspec.Struct, frozen=True, omit_defaults=True):
    """An index in the making."""

    name: str
    entries: list[ListEntry] = []
    annotations: dict[str, str] = {}

    def to_index(self) -> Index:
        """The index: OCI's when any image is OCI's, else docker's. Raises NoPlatform."""
        descriptors = [entry.parsed() for entry in self.entries]
        for entry, descriptor in zip(self.entries, descriptors, strict=True):
            platform = descriptor.platform
            if platform is None or not platform.os or not platform.architecture:
                raise NoPlatform(entry.ref)
        docker = {mediatype.DOCKER_MANIFEST, mediatype.DOCKER_LIST}
        all_docker = all(descriptor.media_type in docker for descriptor in descriptors)
        plain = not self.annotations and not any(descriptor.annotations for descriptor in descriptors)
        media_type = mediatype.DOCKER_LIST if all_docker and plain and descriptors else mediatype.OCI_INDEX
        return build_index(descriptors, media_type=media_type, annotations=self.annotations)

    def with_entries(self, added: Sequence[ListEntry]) -> ManifestList:
        """More images; one that is there already, by its digest, is replaced in its place."""
        entries = list(self.entries)
        places = {str(entry.descriptor["digest"]): index for index, entry in enumerate(entries)}
        for entry in added:
            place = places.get(str(entry.descriptor["digest"]))
            if place is None:
                places[str(entry.descriptor["digest"])] = len(entries)
                entries.append(entry)
            else:
                entries[place] = entry
        return msgspec.structs.replace(self, entries=entries)


def shown_index(index: Index) -> dict[str, Any]:
    """The fields docker shows, in its order."""
    return {
        "schemaVersion": 2,
        "mediaType": index.media_type,
        "manifests": [shown_descriptor(descriptor.to_json()) for descriptor in index.manifests],
        **({"annotations": dict(index.annotations)} if index.annotations else {}),
    }


def shown_descriptor(
    document: Mapping[str, Any], order: Sequence[str] = ("mediaType", "size", "digest")
) -> dict[str, Any]:
    """A descriptor's fields in docker's order."""
    shown: dict[str, Any] = {key: document[key] for key in order}
    if document.get("platform"):
        platform = document["platform"]
        names = ("architecture", "os", "os.version", "os.features", "variant")
        shown["platform"] = {key: platform[key] for key in names if key in platform}
    if document.get("annotations"):
        shown["annotations"] = document["annotations"]
    return shown


def index_bytes(index: Index) -> ManifestBytes:
    """An index as it is pushed; a docker list byte for byte as docker writes it, for the same digest."""
    if index.media_type != mediatype.DOCKER_LIST:
        return ManifestBytes.from_manifest(index)
    return ManifestBytes.of(json.dumps(shown_index(index), indent=3).encode(), index.media_type)


class ManifestLists:
    """The lists in progress of a store."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._folder = store.paths.own / "manifests"

    def find(self, name: str) -> ManifestList | None:
        """By name. Raises InvalidReference."""
        try:
            return msgspec.json.decode(self._path(name).read_bytes(), type=ManifestList)
        except FileNotFoundError:
            return None

    def get(self, name: str) -> ManifestList:
        """Raises NoSuchManifestList."""
        found = self.find(name)
        if found is None:
            raise NoSuchManifestList(familiar(name))
        return found

    def update(self, name: str, change: Callable[[ManifestList | None], ManifestList]) -> ManifestList:
        """Write what `change` makes of the list as it is now; others wait, so no change of theirs is lost."""
        with self._alone():
            made = change(self.find(name))
            replace_file(
                self._path(name), msgspec.json.encode(made), tmp=self._store.paths.tmp, durable=False
            )
        return made

    def remove(self, name: str) -> None:
        """Raises NoSuchManifestList."""
        with self._alone():
            try:
                self._path(name).unlink()
            except FileNotFoundError:
                raise NoSuchManifestList(familiar(name)) from None

    def forget(self, sent: ManifestList) -> None:
        """Remove a list that was sent; one that others have changed or removed since is theirs."""
        with self._alone():
            if self.find(sent.name) == sent:
                self._path(sent.name).unlink()

    def names(self) -> list[str]:
        """Names of all lists in progress."""
        if not self._folder.is_dir():
            return []
        found = [
            msgspec.json.decode(path.read_bytes(), type=ManifestList) for path in self._folder.glob("*.json")
        ]
        return sorted(each.name for each in found)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self._store.prepare()
        make_private(self._folder)
        with locked(self._folder / ".lock", exclusive=True):
            yield

    def _path(self, name: str) -> Path:
        return self._folder / f"{quote(full_name(name), safe='')}.json"


def full_name(name: str) -> str:
    """The name with registry and tag. Raises InvalidReference."""
    return str(Reference.parse(name).with_default_tag())


def familiar(name: str) -> str:
    """As docker shows a name."""
    return Reference.parse(name).with_default_tag().familiar()


class Gathered(msgspec.Struct, frozen=True):
    """What one source adds to a list."""

    entries: list[ListEntry]
    annotations: dict[str, str]
    """Of the index it was, if it was one."""


def gather(text: str, ends: Ends) -> Gathered:
    """The images behind a name: one, or all of an index with its attestations and annotations.

    A plain name is looked for in its registry, and in the local store when it is not there.
    """
    if text.startswith(SCHEMES):
        return _gather(text, text, ends)
    try:
        return _gather(text, f"docker://{text}", ends)
    except (NotFound, Unavailable) as error:
        try:
            return _gather(text, f"store:{text}", ends)
        except EntrepotError:
            raise error from None


def _gather(typed: str, source: str, ends: Ends) -> Gathered:
    endpoint = parse_endpoint(source)
    ref = str(endpoint.reference.with_default_tag()) if endpoint.reference else typed
    with open_origin(endpoint, ends) as origin:
        top = origin.source.get_manifest(origin.reference)
        parsed = top.parse()
        if isinstance(parsed, Index):
            entries = []
            size = 0
            for child in parsed.manifests:
                manifest = origin.source.get_manifest(child.digest)
                size += len(manifest.raw)
                if size > MAX_MANIFEST_BYTES:
                    raise GraphTooLarge(
                        f"the manifests of {typed} have more than {MAX_MANIFEST_BYTES >> 20} MiB together"
                    )
                entries.append(_entry(ref, str(endpoint), child, manifest.raw))
            return Gathered(entries, dict(parsed.annotations))
        descriptor = _with_platform(parsed, _config_platform(parsed, origin.source))
        return Gathered([_entry(ref, str(endpoint), descriptor, top.raw)], {})


def _entry(ref: str, source: str, descriptor: Descriptor, raw: bytes) -> ListEntry:
    return ListEntry(ref, source, descriptor.to_json(), base64.b64encode(raw).decode())


def _with_platform(manifest: ImageManifest, platform: Platform | None) -> Descriptor:
    return msgspec.structs.replace(manifest.descriptor(), platform=platform)


def _config_platform(manifest: ImageManifest, source: object) -> Platform | None:
    """The platform that the image's config names; None for what is no image."""
    if not mediatype.is_config(manifest.config.media_type) or manifest.config.size > _MAX_CONFIG_BYTES:
        return None
    from entrepot.content.protocols import Source
    from entrepot.content.verify import VerifiedReader

    assert isinstance(source, Source)
    with source.open_blob(manifest.config) as stream:
        reader = VerifiedReader(stream, manifest.config)
        raw = b"".join(iter(lambda: reader.read(1 << 20), b""))
    try:
        platform = ImageConfig.parse(raw).platform
    except InvalidImageConfig:
        return None
    return platform if platform.os and platform.architecture else None
