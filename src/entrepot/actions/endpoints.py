"""Places to copy between, as people write them.

docker://NAME[:TAG|@DIGEST]      a registry; also when nothing stands before the name
store:NAME[:TAG] | store:ID      the local store
oci:DIRECTORY[:NAME]             an image layout
oci-archive:FILE[:NAME]          an image layout in a tar
docker-archive:FILE[:NAME]       what `docker save` writes
docker-daemon:NAME[:TAG] | ID    a docker daemon, at $DOCKER_HOST or the usual socket
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal, cast

from entrepot.archive.reading import Archive, ArchiveFormat, open_archive
from entrepot.archive.sink import ArchiveSink
from entrepot.client.mirrors import MirroredRepository
from entrepot.client.registry import open_repository
from entrepot.client.repository import Repository
from entrepot.client.settings import ClientSettings
from entrepot.content.errors import ManifestNotFound
from entrepot.content.protocols import CancelToken, ManifestBytes, ReferrerSource, Sink, Source, TagStore
from entrepot.daemon.docker import DockerDaemon
from entrepot.errors import InvalidInput, NotFound
from entrepot.images.sink import StoreSink
from entrepot.images.source import StoreSource
from entrepot.images.store import ImageStore
from entrepot.layout.directory import ImageLayout
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference, parse_any_reference

Kind = Literal["docker", "store", "oci", "oci-archive", "docker-archive", "docker-daemon"]
PATH_KINDS = ("oci", "oci-archive", "docker-archive")
KINDS: tuple[Kind, ...] = ("docker-archive", "docker-daemon", "oci-archive", "oci", "store", "docker")


class InvalidEndpoint(InvalidInput):
    """The text names no place to copy from or to."""

    code: ClassVar[str] = "invalid-endpoint"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place, and what is meant in it."""

    kind: Kind
    reference: Reference | None = None
    """The image's name, where the place goes by names of images."""
    path: Path | None = None
    name: str = ""
    """In a layout or archive: the name in there; elsewhere what was typed."""

    def __str__(self) -> str:
        if self.kind == "docker":
            return f"docker://{self.reference}" if self.reference else "docker://"
        if self.path is not None:
            return f"{self.kind}:{self.path}" + (f":{self.name}" if self.name else "")
        return f"{self.kind}:{self.name}"

    def with_tag(self, tag: str) -> Endpoint:
        """The same place, another tag. Raises InvalidEndpoint."""
        if self.path is not None and self.kind != "docker-archive":
            return replace(self, name=tag)
        if self.kind == "docker-archive" and self.reference is None:
            return self  # the source's name is used
        if self.reference is None:
            raise InvalidEndpoint(f"{self} names no repository, so it has no tags")
        tagged = self.reference.with_digest(None).with_tag(tag)
        return replace(self, reference=tagged, name=tagged.familiar())


def parse_endpoint(text: str) -> Endpoint:
    """Raises InvalidEndpoint, InvalidReference."""
    if text.startswith("docker://"):
        reference = Reference.parse(text.removeprefix("docker://"))
        return Endpoint("docker", reference, name=reference.familiar())
    for kind in KINDS:
        if kind != "docker" and text.startswith(f"{kind}:"):
            return _parse_rest(kind, text[len(kind) + 1 :])
    reference = Reference.parse(text)
    return Endpoint("docker", reference, name=reference.familiar())


def _parse_rest(kind: Kind, rest: str) -> Endpoint:
    if not rest:
        raise InvalidEndpoint(f"{kind}: what stands behind the colon is missing")
    if kind in PATH_KINDS:
        path, _, name = rest.partition(":")
        reference = Reference.parse(name) if kind == "docker-archive" and name and name[0] != "@" else None
        return Endpoint(kind, reference, Path(path), name)
    found = parse_any_reference(rest)
    return Endpoint(kind, found if isinstance(found, Reference) else None, name=rest)


AnyRepository = Repository | MirroredRepository


class Ends:
    """What opening an endpoint needs beside the endpoint, and what is open already.

    Thread safe. Use it with `with`: leaving it closes registries, and writes archives when all went well.
    """

    def __init__(
        self, store: ImageStore, settings: ClientSettings, cancel: CancelToken | None = None
    ) -> None:
        self.store = store
        self.settings = settings
        self.cancel = cancel
        self._mutex = threading.Lock()
        self._opened: dict[tuple[str, bool, bool], AnyRepository] = {}
        self._archives: dict[Path, ArchiveSink] = {}

    def repository(self, reference: Reference, *, push: bool = False) -> AnyRepository:
        """One connection and one token a repository, however many of its tags are asked for."""
        key = (reference.name, push, reference.digest is not None)
        with self._mutex:
            found = self._opened.get(key)
            if found is None:
                found = open_repository(reference, client=self.settings, push=push, cancel=self.cancel)
                self._opened[key] = found
            return found

    def archive(self, path: Path, kind: ArchiveFormat) -> ArchiveSink:
        """One archive a file, however many images are copied into it."""
        with self._mutex:
            found = self._archives.get(path.absolute())
            if found is None:
                found = ArchiveSink.to_path(path, archive_format=kind)
                self._archives[path.absolute()] = found
            return found

    def __enter__(self) -> Ends:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        with ExitStack() as stack:
            for opened in self._opened.values():
                stack.callback(opened.close)
            for archive in self._archives.values():
                stack.callback(archive.close)
            if kind is None:
                for archive in self._archives.values():
                    archive.finish()


@dataclass(frozen=True, slots=True)
class OpenOrigin:
    """An open place to copy from."""

    source: Source
    reference: str | Digest
    """What is meant, as the source takes it."""
    name: Reference | None
    """A name for it, for places that want one."""
    tags: TagStore | None = None
    referrers: ReferrerSource | None = None


@contextmanager
def open_origin(endpoint: Endpoint, ends: Ends) -> Iterator[OpenOrigin]:
    """Open to read. Raises NotFound, Unavailable, InvalidArchive."""
    with ExitStack() as stack:
        yield _origin(endpoint, ends, stack)


def _origin(endpoint: Endpoint, ends: Ends, stack: ExitStack) -> OpenOrigin:
    reference = endpoint.reference
    if endpoint.kind == "docker" and reference is not None:
        repository = ends.repository(reference)
        wanted = reference.with_default_tag()
        return OpenOrigin(repository, wanted.digest or wanted.tag or "latest", wanted, repository, repository)
    if endpoint.kind == "store":
        return _store_origin(endpoint, ends.store)
    if endpoint.kind == "oci" and endpoint.path is not None:
        layout = ImageLayout(endpoint.path)
        return OpenOrigin(layout, endpoint.name, _name_in_layout(layout, endpoint.name), layout, layout)
    if endpoint.kind == "docker-daemon":
        daemon = stack.enter_context(DockerDaemon.from_environment(os.environ))
        wanted_name = reference.with_default_tag().familiar() if reference else endpoint.name
        ends.store.prepare()
        with daemon.save([wanted_name]) as packed:
            archive = stack.enter_context(open_archive(cast("BinaryIO", packed), tmp=ends.store.paths.tmp))
        name = reference.with_default_tag() if reference else None
        return OpenOrigin(archive, archive.images[0].target.digest, name)
    ends.store.prepare()
    path = endpoint.path or Path()
    archive = stack.enter_context(open_archive(path, tmp=ends.store.paths.tmp))
    image = archive.find(endpoint.name)
    name = endpoint.reference or (image.references[0] if image.references else None)
    return OpenOrigin(archive, image.target.digest, name)


def _store_origin(endpoint: Endpoint, store: ImageStore) -> OpenOrigin:
    reference = endpoint.reference
    source = StoreSource(store, reference)
    image = store.resolve(endpoint.name)
    named = reference.with_default_tag() if reference else None
    if named is not None and named not in (*image.tags, *image.repo_digests):
        named = None  # it was the beginning of an ID
    name = named or (image.tags[0] if image.tags else None)
    return OpenOrigin(source, image.target.digest, name, source)


def _name_in_layout(layout: ImageLayout, name: str) -> Reference | None:
    entry = layout.read_index().find(name)
    return entry.reference() if entry is not None and entry.full_name else None


@dataclass(frozen=True, slots=True)
class OpenGoal:
    """An open place to copy to."""

    sink: Sink
    tag: str | None
    """What the sink's name will be; None to store by digest alone."""
    held: Descriptor | None
    """What that name holds now, where that can be told."""
    endpoint: Endpoint


@contextmanager
def open_goal(endpoint: Endpoint, ends: Ends, *, name: Reference | None = None) -> Iterator[OpenGoal]:
    """Open to write. `name` is used where the endpoint gives none. Leaving `ends` writes archives."""
    with ExitStack() as stack:
        yield _goal(endpoint, ends, name, stack)


def _goal(endpoint: Endpoint, ends: Ends, name: Reference | None, stack: ExitStack) -> OpenGoal:
    if endpoint.kind == "docker" and endpoint.reference is not None:
        reference = endpoint.reference.with_default_tag()
        repository = cast("Repository", ends.repository(reference, push=True))
        tag = None if reference.digest is not None else reference.tag
        held = repository.find_manifest(tag or reference.digest or "latest")
        return OpenGoal(repository, tag, held, endpoint)
    if endpoint.kind == "store":
        return _store_goal(endpoint, ends.store, stack)
    if endpoint.kind == "oci" and endpoint.path is not None:
        layout = ImageLayout(endpoint.path, create=True)
        tag = endpoint.name or (name.tag if name else None)
        return OpenGoal(_ListingLayout(layout), tag, _held(layout, tag), endpoint)
    if endpoint.kind == "docker-daemon":
        named = _required_name(endpoint, endpoint.reference or name)
        daemon = stack.enter_context(DockerDaemon.from_environment(os.environ))
        ends.store.prepare()
        sink = stack.enter_context(ArchiveSink(daemon.load, staging=ends.store.paths.tmp, reference=named))
        return OpenGoal(sink, named.tag, None, endpoint)
    return _archive_goal(endpoint, ends, name)


def _store_goal(endpoint: Endpoint, store: ImageStore, stack: ExitStack) -> OpenGoal:
    named = _required_name(endpoint, endpoint.reference)
    sink = stack.enter_context(StoreSink(store, named))
    held = store.find(named)
    return OpenGoal(sink, named.tag, held.target if held else None, endpoint)


def _archive_goal(endpoint: Endpoint, ends: Ends, name: Reference | None) -> OpenGoal:
    path = endpoint.path or Path()
    if not path.parent.is_dir():
        raise InvalidEndpoint(f"{endpoint}: there is no directory {path.parent}")
    kind: ArchiveFormat = "docker" if endpoint.kind == "docker-archive" else "oci"
    reference = endpoint.reference or (None if endpoint.name else name)
    reference = reference.with_default_tag() if reference else None
    tag = reference.tag if reference else endpoint.name or None
    return OpenGoal(_InArchive(ends.archive(path, kind), reference), tag, None, endpoint)


def _required_name(endpoint: Endpoint, reference: Reference | None) -> Reference:
    if reference is None or reference.digest is not None:
        raise InvalidEndpoint(f"{endpoint}: a name with a tag is needed here")
    return reference.with_default_tag()


def _held(layout: ImageLayout, name: str | None) -> Descriptor | None:
    if name is None:
        return None
    try:
        return layout.get_manifest(name).descriptor()
    except NotFound:
        return None


class _Forwarding:
    """A sink that hands everything on; what subclasses change is what happens to a nameless top."""

    def __init__(self, sink: ImageLayout | ArchiveSink) -> None:
        self.has_blob = sink.has_blob
        self.has_manifest = sink.has_manifest
        self.blob_offset = sink.blob_offset
        self.put_blob = sink.put_blob
        self.mount_blob = sink.mount_blob
        self.put_manifest = sink.put_manifest


class _ListingLayout(_Forwarding):
    """A layout in which an image without a name can still be found."""

    def __init__(self, layout: ImageLayout) -> None:
        super().__init__(layout)
        self._layout = layout

    def list_unnamed(self, target: Descriptor) -> None:
        self._layout.update_index(lambda index: index.with_name(None, target))


class _InArchive(_Forwarding):
    """One image's place in an archive that may get several."""

    def __init__(self, archive: ArchiveSink, reference: Reference | None) -> None:
        super().__init__(archive)
        self._archive = archive
        self._reference = reference
        self.put_manifest = self._put_manifest
        self.list_unnamed = archive.add

    def _put_manifest(self, manifest: ManifestBytes, reference: str | None, /) -> None:
        self._archive.put_manifest(manifest, None)
        if reference is None:
            return
        if self._reference is None:
            self._archive.add(manifest.descriptor(), ref_names=(reference,))
        else:
            self._archive.add(manifest.descriptor(), (self._reference.with_tag(reference),))


def list_unnamed(sink: Sink, target: Descriptor) -> None:
    """Make a top that was put without a name an image of its place."""
    if isinstance(sink, (_ListingLayout, _InArchive)):
        sink.list_unnamed(target)


def names_in(endpoint: Endpoint, ends: Ends) -> list[str]:
    """Tags of a repository, or the names in a layout or archive. Raises InvalidEndpoint."""
    if endpoint.kind == "docker" and endpoint.reference is not None:
        return list(ends.repository(endpoint.reference).list_tags())
    if endpoint.kind == "store" and endpoint.reference is not None:
        return [tag.tag for tag in ends.store.tags_of(endpoint.reference) if tag.tag]
    if endpoint.kind == "oci" and endpoint.path is not None:
        return list(ImageLayout(endpoint.path).list_tags())
    if endpoint.path is not None:
        ends.store.prepare()
        with open_archive(endpoint.path, tmp=ends.store.paths.tmp) as archive:
            return _archive_names(archive, plain=endpoint.kind == "oci-archive")
    if endpoint.kind == "docker-daemon" and endpoint.reference is not None:
        return _daemon_tags(endpoint.reference)
    raise InvalidEndpoint(f"{endpoint} has no tags to list")


def _archive_names(archive: Archive, *, plain: bool) -> list[str]:
    """Names `find` takes; `plain` prefers those an OCI archive writes, where they tell images apart."""
    names = {reference.familiar() for image in archive.images for reference in image.references}
    written = [name for image in archive.images for name in image.ref_names]
    is_clear = len(set(written)) == len(written) and all(image.ref_names for image in archive.images)
    return sorted(written if plain and is_clear else names or set(written))


def _daemon_tags(reference: Reference) -> list[str]:
    with DockerDaemon.from_environment(os.environ) as daemon:
        names = [name for image in daemon.list_images() for name in image.get("RepoTags") or ()]
    parsed = [Reference.parse(name) for name in names if "<none>" not in name]
    return sorted(one.tag for one in parsed if one.name == reference.name and one.tag)


def is_same_registry(source: Source, sink: Sink) -> bool:
    """Whether blobs can be mounted from one into the other."""
    return isinstance(source, Repository) and isinstance(sink, Repository) and source.origin == sink.origin


def manifest_or_none(source: Source, reference: str | Digest) -> Descriptor | None:
    """Type, digest and size without the content where the place can do that."""
    if isinstance(source, (Repository, MirroredRepository)):
        return source.find_manifest(reference)
    try:
        return source.get_manifest(reference).descriptor()
    except ManifestNotFound:
        return None
