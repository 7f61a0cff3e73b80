"""Manifests of one repository over HTTP (distribution-spec: Pulling and Pushing Manifests)."""

from __future__ import annotations

from entrepot.client.answers import refusal
from entrepot.client.errors import HistoryUnknown, RegistryMisbehaved, TagExists
from entrepot.client.place import Place
from entrepot.client.transport import ConnectionBroken
from entrepot.content.errors import ManifestNotFound
from entrepot.content.protocols import ManifestBytes
from entrepot.content.verify import DigestMismatch, verify_manifest
from entrepot.errors import EntrepotError, NotFound
from entrepot.oci import distribution, mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, InvalidDigest
from entrepot.oci.manifest import InvalidManifest, parse_manifest
from entrepot.oci.reference import parse_tag

MANIFEST_BYTES = 4 * 1024 * 1024
_ACCEPT = ", ".join((*mediatype.ACCEPT_MANIFESTS, "*/*;q=0.5"))


def get_manifest(place: Place, reference: str | Digest, *, at: str | None = None) -> ManifestBytes:
    """The bytes and their own digest. Asked for by digest, they have been checked against it.

    `at` (RFC 3339) asks for what it was then. Raises ManifestNotFound, HistoryUnknown (with `at`, from a
    registry that knows only now), DigestMismatch, RegistryMisbehaved, AnswerTooLarge and the errors of a
    request.
    """
    path = _path(place, reference, at)
    subject = place.subject(f"manifest for {place.shown(reference)}", missing=ManifestNotFound)
    attempt = 1
    while True:
        answer = place.request("GET", path, headers={"Accept": _ACCEPT})
        if answer.status != 200:
            raise refusal(answer, subject)
        if at is not None and answer.header(distribution.AS_OF) is None:
            answer.close()
            raise HistoryUnknown(
                f"registry {place.registry} does not keep what {place.shown(reference)} was at {at}",
                hint="leave the time away for what it is now",
            )
        try:
            raw = answer.read_capped(MANIFEST_BYTES, f"the manifest {place.shown(reference)}")
            break
        except ConnectionBroken as error:
            if not place.session.pause(attempt):
                raise place.session.unreachable(error) from error
            attempt += 1
    digest = _checked_digest(place, reference, raw, answer.header(distribution.CONTENT_DIGEST))
    return ManifestBytes(raw, _media_type(place, raw, answer.header("Content-Type")), digest)


def find_manifest(place: Place, reference: str | Digest) -> Descriptor | None:
    """Type, digest and size by HEAD (GET where the registry's HEAD says too little); None when missing.

    Raises RegistryMisbehaved.
    """
    answer = place.request("HEAD", _path(place, reference), headers={"Accept": _ACCEPT})
    with answer:
        # As for blobs: where we come to push, the push itself is refused with words, or is allowed.
        refused = "push" in place.actions and answer.status in {401, 403}
        if answer.status == 404 or refused:
            answer.discard()
            return None
        if answer.status in {405, 501}:
            answer.discard()
            return _find_by_get(place, reference)
        if answer.status != 200:
            raise refusal(
                answer, place.subject(f"manifest for {place.shown(reference)}", missing=ManifestNotFound)
            )
        promised = answer.header(distribution.CONTENT_DIGEST) or (
            str(reference) if isinstance(reference, Digest) else ""
        )
        kind = mediatype.base_type(answer.header("Content-Type") or "")
        size = answer.content_length
        answer.discard()
    try:
        digest = Digest.parse(promised)
    except InvalidDigest:
        digest = None
    if digest is None or size is None or not mediatype.is_manifest(kind):
        return _find_by_get(place, reference)
    if isinstance(reference, Digest) and digest != reference:
        raise RegistryMisbehaved(f"registry {place.registry} calls {reference} by the digest {digest}")
    return Descriptor(kind, digest, size)


def _find_by_get(place: Place, reference: str | Digest) -> Descriptor | None:
    try:
        return get_manifest(place, reference).descriptor()
    except NotFound:
        return None


def put_manifest(place: Place, manifest: ManifestBytes, tag: str | None, *, if_absent: bool = False) -> None:
    """Store under its digest, or under `tag`. With `if_absent` a tag is only created, never moved.

    Raises TagExists (with `if_absent`, when the tag holds something else), DigestMismatch, AccessDenied,
    RegistryRefused.
    """
    verify_manifest(manifest)
    reference = parse_tag(tag) if tag is not None else manifest.digest
    if if_absent and tag is not None and (held := find_manifest(place, tag)) is not None:
        _require_same(place, tag, held, manifest)
        return
    headers = {"Content-Type": manifest.media_type}
    if if_absent:
        headers["If-None-Match"] = "*"
    path = _path(place, reference)
    if tag is not None and manifest.digest.algorithm != "sha256":
        path += f"?digest={manifest.digest}"
    answer = place.request("PUT", path, headers=headers, body=manifest.raw)
    with answer:
        if answer.status == 412 and if_absent and tag is not None:
            answer.discard()
            _require_same(place, tag, find_manifest(place, tag), manifest)
            return
        if answer.status not in {200, 201, 202}:
            raise refusal(answer, place.subject(f"manifest for {place.shown(reference)}", action="push"))
        promised = answer.header(distribution.CONTENT_DIGEST)
        answer.discard()
    if promised and promised != str(manifest.digest) and promised.startswith(f"{manifest.digest.algorithm}:"):
        raise RegistryMisbehaved(
            f"registry {place.registry} stored {place.shown(reference)} as {promised[:140]} "
            f"instead of {manifest.digest}"
        )


def delete_manifest(place: Place, reference: str | Digest) -> None:
    """A tag alone, or a manifest with its tags. Raises ManifestNotFound, AccessDenied, RegistryRefused."""
    answer = place.request("DELETE", _path(place, reference), actions=("delete", "pull", "push"))
    with answer:
        if answer.status not in {200, 202, 204}:
            subject = place.subject(place.shown(reference), action="delete", missing=ManifestNotFound)
            raise refusal(answer, subject)
        answer.discard()


def _require_same(place: Place, tag: str, held: Descriptor | None, manifest: ManifestBytes) -> None:
    if held is not None and held.digest == manifest.digest:
        return
    holds = held.digest if held else "another manifest"
    raise TagExists(
        f"tag {place.shown(tag)} exists and holds {holds}, not {manifest.digest}",
        hint="push another tag, or leave --if-absent away to move this one",
        digest=held.digest if held else None,
    )


def _path(place: Place, reference: str | Digest, at: str | None = None) -> str:
    checked = reference if isinstance(reference, Digest) else parse_tag(reference)
    if at is not None:
        return distribution.manifest_path_at(place.repository, checked, at)
    return distribution.manifest_path(place.repository, checked)


def _checked_digest(place: Place, reference: str | Digest, raw: bytes, promised: str | None) -> Digest:
    """The digest the bytes have; it must be the one asked for, and the one the header names."""
    if isinstance(reference, Digest):
        actual = Digest.of(raw, reference.algorithm)
        if actual != reference:
            raise DigestMismatch(reference, actual)
        return actual
    try:
        named = Digest.parse(promised) if promised else None
    except InvalidDigest:
        named = None
    actual = Digest.of(raw, named.algorithm if named else "sha256")
    if named is not None and named != actual:
        raise RegistryMisbehaved(
            f"registry {place.registry} names the digest {named} for {place.shown(reference)}, "
            f"but its bytes have {actual}"
        )
    return actual


def _media_type(place: Place, raw: bytes, content_type: str | None) -> str:
    """The type it was served with; where that says nothing (old registries), the document's own."""
    served = mediatype.base_type(content_type or "")
    if mediatype.is_manifest(served):
        return served
    try:
        return parse_manifest(raw, None).media_type
    except InvalidManifest:
        if served in {"", "application/json", "text/plain", "text/html", mediatype.OCTET_STREAM}:
            raise RegistryMisbehaved(
                f"registry {place.registry} sent {served or 'something'} where a manifest was asked for"
            ) from None
        return served
    except EntrepotError:
        return served
