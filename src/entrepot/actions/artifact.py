"""`artifact` and `attach`: files in a registry, alone or belonging to an image, as oras keeps them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from entrepot.actions.endpoints import Ends, open_goal, parse_endpoint
from entrepot.actions.places import the_settings, the_store
from entrepot.actions.referrers import ensure_listed
from entrepot.actions.signatures import EMPTY, open_image, open_to_sign, put_bytes
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import BlobStream, ManifestBytes, Sink, Source
from entrepot.content.verify import VerifiedReader
from entrepot.errors import InvalidInput, NotFound
from entrepot.images.store import ImageStore
from entrepot.layers.paths import parse_path
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.manifest import ImageManifest, build_manifest

TITLE = "org.opencontainers.image.title"
CREATED = "org.opencontainers.image.created"
UNKNOWN = "application/vnd.unknown.artifact.v1"
"""What oras calls an artifact whose type nobody said."""


@dataclass(frozen=True, slots=True)
class PutArtifact:
    """What is in the registry now."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class GotFile:
    """A file that was written."""

    path: Path
    digest: Digest
    size: int


def put(
    name: str,
    files: Sequence[str],
    *,
    artifact_type: str | None = None,
    annotations: Mapping[str, str] | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> PutArtifact:
    """Put files (`PATH` or `PATH:TYPE`) under a name. Raises InvalidInput, OSError, Denied, Unavailable."""
    found = [_parse_file(text) for text in files]
    with Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends:
        endpoint = parse_endpoint(name)
        if endpoint.kind not in ("docker", "oci"):
            raise InvalidInput(f"{name}: artifacts are kept in registries and image layouts")
        with open_goal(endpoint, ends) as goal:
            manifest = _put(goal.sink, found, artifact_type, annotations, subject=None)
            goal.sink.put_manifest(manifest, goal.tag)
    return PutArtifact(str(endpoint), manifest.digest)


def attach(
    name: str,
    files: Sequence[str],
    *,
    artifact_type: str,
    annotations: Mapping[str, str] | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> PutArtifact:
    """Put files that belong to what `name` stands for now. Raises what `put` raises, and NotFound."""
    found = [_parse_file(text) for text in files]
    with (
        Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends,
        open_image(name, ends) as image,
    ):
        with open_to_sign(image, ends) as sink:
            manifest = _put(sink, found, artifact_type, annotations, subject=image.descriptor)
            sink.put_manifest(manifest, None)
            parsed = manifest.parse()
            listed = Descriptor(
                manifest.media_type, manifest.digest, len(manifest.raw),
                annotations=parsed.annotations, artifact_type=artifact_type,
            )  # fmt: skip
            ensure_listed(sink, image.digest, listed)
        return PutArtifact(str(image.endpoint), manifest.digest)


def get(
    name: str,
    folder: Path,
    *,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> list[GotFile]:
    """Write an artifact's files into a folder, under their titles. A file that is there is replaced.

    Titles come from strangers: none leaves the folder, and no link in it is followed. Each file has its name
    once all of it was verified. Raises NotFound, UnsafePath, VerificationFailed, OSError.
    """
    with (
        Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends,
        open_image(name, ends) as image,
    ):
        parsed = image.origin.source.get_manifest(image.digest).parse()
        if not isinstance(parsed, ImageManifest):
            raise InvalidInput(f"{name} is an index; an artifact of it has to be named by its digest")
        titled = [
            (layer.annotations[TITLE], layer) for layer in parsed.layers if layer.annotations.get(TITLE)
        ]
        if not titled:
            raise NotFound(f"{name} has no files with names", hint="an image is taken with pull or copy")
        places = [parse_path(os.fsencode(title)) for title, _ in titled]
        if not all(places) or len(set(places)) != len(places):
            raise InvalidInput(f"{name}: two of its files have one name, or one has none")
        folder.mkdir(parents=True, exist_ok=True)
        return [
            _write(image.origin.source, layer, folder, parts)
            for parts, (_, layer) in zip(places, titled, strict=True)
        ]


def list_artifacts(
    name: str,
    *,
    artifact_type: str | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> list[Descriptor]:
    """What belongs to an image, by itself. Raises NotFound, Unavailable."""
    with (
        Ends(the_store(store), the_settings(settings, insecure=insecure)) as ends,
        open_image(name, ends) as image,
    ):
        referrers = image.origin.referrers
        return referrers.list_referrers(image.digest, artifact_type) if referrers is not None else []


def _parse_file(text: str) -> tuple[Path, str]:
    """`PATH:TYPE`, or `PATH` where that is a file."""
    path, colon, kind = text.rpartition(":")
    if not colon or Path(text).exists() or "/" not in kind:
        path, kind = text, mediatype.OCTET_STREAM
    found = Path(path)
    if found.is_dir():
        raise InvalidInput(f"{found} is a directory", hint="pack it into one file first, with tar")
    return found, kind


def _put(
    sink: Sink,
    files: Sequence[tuple[Path, str]],
    artifact_type: str | None,
    annotations: Mapping[str, str] | None,
    *,
    subject: Descriptor | None,
) -> ManifestBytes:
    config = put_bytes(sink, EMPTY, mediatype.OCI_EMPTY)
    layers = [_put_file(sink, path, kind) for path, kind in files] or [config]
    notes = {CREATED: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")} | dict(annotations or {})
    made = build_manifest(
        config, layers, annotations=notes, subject=subject, artifact_type=artifact_type or UNKNOWN
    )
    return ManifestBytes.from_manifest(made)


def _put_file(sink: Sink, path: Path, kind: str) -> Descriptor:
    with path.open("rb") as file:
        hasher = Hasher()
        while piece := file.read(1 << 20):
            hasher.update(piece)
        file.seek(0)
        descriptor = Descriptor(kind, hasher.digest(), hasher.size)
        sink.put_blob(descriptor, cast("BlobStream", file))
    title = path.name if path.is_absolute() or ".." in path.parts else str(path)
    return Descriptor(kind, descriptor.digest, descriptor.size, annotations={TITLE: title})


def _write(source: Source, layer: Descriptor, folder: Path, parts: tuple[bytes, ...]) -> GotFile:
    with _directory(folder, parts[:-1]) as parent:
        spare = f".{secrets.token_hex(8)}.part".encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with (
                os.fdopen(os.open(spare, flags, 0o644, dir_fd=parent), "wb") as file,
                VerifiedReader(source.open_blob(layer), layer) as reader,
            ):
                while piece := reader.read(1 << 20):
                    file.write(piece)
            os.replace(spare, parts[-1], src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spare, dir_fd=parent)
            raise
    return GotFile(folder / os.fsdecode(b"/".join(parts)), layer.digest, layer.size)


@contextlib.contextmanager
def _directory(folder: Path, parts: tuple[bytes, ...]) -> Iterator[int]:
    """A directory below `folder`, made where it is missing. Raises NotADirectoryError where a link stands."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    current = os.open(folder, flags)
    try:
        for part in parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=current)
            inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = inner
        yield current
    finally:
        os.close(current)
