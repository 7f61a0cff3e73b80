"""The signatures a place holds for an image: found, read, written. Their worth is not decided here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from typing import cast

from entrepot.actions.endpoints import Endpoint, Ends, OpenOrigin, open_goal, open_origin, parse_endpoint
from entrepot.actions.referrers import ensure_listed
from entrepot.content.errors import ManifestNotFound
from entrepot.content.protocols import BlobStream, ManifestBytes, Sink, Source
from entrepot.content.verify import VerifiedReader
from entrepot.errors import InvalidInput, NotFound, VerificationFailed
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest, build_manifest

BUNDLES = "application/vnd.dev.sigstore.bundle"
"""What all types of bundles begin with."""
NOTATION = "application/vnd.cncf.notary.signature"
MAX_SIGNATURES = 200
"""Of one image. Anybody who may push can add more; a signer's own is among the first."""
MAX_BLOB_BYTES = 32 << 20
EMPTY = b"{}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One layer that may be a signature."""

    form: str
    """`bundle`, `tag` (cosign's older form) or `notation`."""
    manifest: Digest
    media_type: str
    content: bytes
    annotations: Mapping[str, str]


@dataclass(slots=True)
class ImageThere:
    """An image in the place where its signatures are."""

    endpoint: Endpoint
    origin: OpenOrigin
    descriptor: Descriptor
    """Of the manifest or index the name stands for."""
    skipped: list[str] = field(default_factory=list)
    """What could not be read, and why."""

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest


@contextmanager
def open_image(text: str, ends: Ends) -> Iterator[ImageThere]:
    """Raises NotFound, InvalidEndpoint, Unavailable."""
    endpoint = parse_endpoint(text)
    with open_origin(endpoint, ends) as origin:
        yield ImageThere(endpoint, origin, origin.source.get_manifest(origin.reference).descriptor())


def find_signatures(image: ImageThere) -> Iterator[Candidate]:
    """All that may be one, whoever made it, up to MAX_SIGNATURES."""
    candidates = _all(image)
    yield from islice(candidates, MAX_SIGNATURES)
    if next(candidates, None) is not None:
        image.skipped.append(
            f"there are more than {MAX_SIGNATURES} signatures; the others were not looked at"
        )


def _all(image: ImageThere) -> Iterator[Candidate]:
    referrers = image.origin.referrers
    for descriptor in referrers.list_referrers(image.digest) if referrers is not None else []:
        kind = descriptor.artifact_type or ""
        if kind.startswith(BUNDLES) or kind == NOTATION:
            form = "notation" if kind == NOTATION else "bundle"
            yield from _layers(image, descriptor.digest, form, subject=image.digest)
    for suffix in (".sig", ".att"):
        yield from _layers(image, old_tag(image.digest, suffix), "tag")


def old_tag(digest: Digest, suffix: str) -> str:
    """cosign's older form."""
    return f"{digest.algorithm}-{digest.hex}{suffix}"


def _layers(
    image: ImageThere, reference: str | Digest, form: str, *, subject: Digest | None = None
) -> Iterator[Candidate]:
    try:
        held = image.origin.source.get_manifest(reference)
        parsed = held.parse()
    except ManifestNotFound:
        return
    except InvalidInput as error:
        image.skipped.append(f"{reference}: {error.message}")
        return
    if not isinstance(parsed, ImageManifest):
        return
    if subject is not None and (parsed.subject is None or parsed.subject.digest != subject):
        image.skipped.append(f"{held.digest}: it is listed here and belongs to something else")
        return
    for layer in parsed.layers[:MAX_SIGNATURES]:
        if layer.size > MAX_BLOB_BYTES:
            image.skipped.append(f"{held.digest}: a signature of {layer.size} bytes is none")
            continue
        try:
            content = read_blob(image.origin.source, layer)
        except (NotFound, VerificationFailed) as error:
            image.skipped.append(f"{held.digest}: {error.message}")
            continue
        yield Candidate(form, held.digest, layer.media_type, content, layer.annotations)


def read_blob(source: Source, descriptor: Descriptor) -> bytes:
    """A small blob, verified. Raises NotFound, VerificationFailed."""
    if descriptor.data is not None:
        return descriptor.data
    with VerifiedReader(source.open_blob(descriptor), descriptor) as reader:
        return reader.read()


class _Bytes(BytesIO):
    """Bytes as a blob's stream."""


def put_bytes(
    sink: Sink, content: bytes, media_type: str, annotations: Mapping[str, str] | None = None
) -> Descriptor:
    digest = Digest.of(content)
    descriptor = Descriptor(media_type, digest, len(content), annotations=annotations or {})
    with _Bytes(content) as stream:
        sink.put_blob(Descriptor(media_type, digest, len(content)), cast("BlobStream", stream))
    return descriptor


@contextmanager
def open_to_sign(image: ImageThere, ends: Ends) -> Iterator[Sink]:
    """The same place, to write to. Raises InvalidInput for places that keep no signatures."""
    if image.endpoint.kind != "docker":
        raise InvalidInput(
            f"{image.endpoint}: signatures are kept beside images in registries only",
            hint="push the image first, and sign it there",
        )
    with open_goal(image.endpoint, ends) as goal:
        yield goal.sink


def attach(
    sink: Sink,
    image: ImageThere,
    content: bytes,
    artifact_type: str,
    annotations: Mapping[str, str],
    *,
    layer_type: str | None = None,
) -> Digest:
    """Put a manifest with one layer whose subject is the image; its digest."""
    config = put_bytes(sink, EMPTY, mediatype.OCI_EMPTY)
    layer = put_bytes(sink, content, layer_type or artifact_type)
    subject = image.descriptor
    manifest = build_manifest(
        config, [layer], annotations=annotations, subject=subject, artifact_type=artifact_type
    )
    held = ManifestBytes.from_manifest(manifest)
    sink.put_manifest(held, None)
    listed = Descriptor(
        held.media_type, held.digest, len(held.raw), annotations=annotations, artifact_type=artifact_type
    )
    ensure_listed(sink, image.digest, listed)
    return held.digest
