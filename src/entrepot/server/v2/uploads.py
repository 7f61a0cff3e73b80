"""Uploads on the wire (distribution-spec, "Pushing blobs"), in the three ways clients do it.

    docker, skopeo, crane    POST → PATCH (streamed, often chunked, no Content-Range) → PUT ?digest= (empty)
    containerd, BuildKit     POST → PUT ?digest= with the whole body;  or POST ?digest= with it
    regclient                POST → PATCH with Content-Range, many times → PUT ?digest=

`Location` is relative, so that it holds behind any proxy. A range that does not continue the upload is
answered 416 with where it stands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from entrepot.errors import InvalidInput
from entrepot.oci.digest import ALGORITHMS, Digest, InvalidDigest
from entrepot.oci.distribution import blob_path, parse_content_range, upload_path, upload_range
from entrepot.oci.reference import InvalidRepositoryName
from entrepot.server.access.decision.model import Action
from entrepot.server.http.refusals import unauthorized
from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import Response, empty
from entrepot.server.repos.repositories import EVERYTHING
from entrepot.server.repos.uploads import Upload
from entrepot.server.v2 import names
from entrepot.server.v2.context import V2Context


class UploadRequestInvalid(InvalidInput):
    """Headers or parameters of an upload that contradict each other."""

    code: ClassVar[str] = "upload-request-invalid"


async def start(context: V2Context, request: HttpRequest, name: str) -> Response:
    """POST: mount, or the whole blob at once with `?digest=`, or a new upload."""
    repository = names.repository(name)
    permit = context.services.access.permit_for(request.principal)
    actor = context.actor(request)
    mount = request.parameter("mount") if request.query_string else None
    if mount is not None:
        wanted = _mount_digest(mount)
        if wanted is not None:
            source = _mount_source(request)
            visible = (
                await context.services.access.visible(request.principal) if source is None else EVERYTHING
            )
            mounted = await context.services.blobs.mount(
                repository,
                wanted,
                source,
                actor=actor,
                permit=permit,
                may_read=context.services.access.may_read_for(request.principal),
                visible=visible,
            )
            if mounted:
                return _created(repository, wanted)
            if source is not None and await _would_a_wider_token_do(context, request, source):
                return _ask_for_wider(context, request, repository, source)
    digest = _digest_parameter(request, required=False)
    algorithm = _algorithm(request)
    if digest is None:
        upload = await context.services.uploads.start(
            repository, actor=actor, permit=permit, algorithm=algorithm
        )
        return _accepted(repository, upload)
    blob = await context.services.uploads.put(
        repository,
        digest,
        request.chunks(),
        content_length=request.content_length(),
        actor=actor,
        permit=permit,
    )
    return _created(repository, blob.digest)


async def status(context: V2Context, _request: HttpRequest, name: str, upload: str) -> Response:
    """GET: how far it is."""
    repository = names.repository(name)
    found = await context.services.uploads.status(repository, upload)
    return empty(204, *_position(repository, found))


async def append(context: V2Context, request: HttpRequest, name: str, upload: str) -> Response:
    """PATCH: more bytes. Without Content-Range they go to the end."""
    repository = names.repository(name)
    start_at, length = _content_range(request)
    found = await context.services.uploads.append(
        repository,
        upload,
        request.chunks(),
        expected_start=start_at,
        content_length=length,
        actor=context.actor(request),
    )
    return _accepted(repository, found)


async def finish(context: V2Context, request: HttpRequest, name: str, upload: str) -> Response:
    """PUT ?digest=: the rest of the bytes, if any, and the end."""
    repository = names.repository(name)
    digest = _digest_parameter(request, required=True)
    assert digest is not None
    start_at, length = _content_range(request)
    blob = await context.services.uploads.finish(
        repository,
        upload,
        digest,
        chunks=None if length == 0 else request.chunks(),
        expected_start=start_at,
        content_length=length,
        actor=context.actor(request),
        permit=context.services.access.permit_for(request.principal),
    )
    return _created(repository, blob.digest)


async def cancel(context: V2Context, _request: HttpRequest, name: str, upload: str) -> Response:
    """DELETE: forget it."""
    await context.services.uploads.cancel(names.repository(name), upload)
    return empty(204)


def _digest_parameter(request: HttpRequest, *, required: bool) -> Digest | None:
    """`?digest=`. Raises InvalidDigest when it is missing, malformed, or there are two that differ."""
    values = set(request.parameters("digest")) if request.query_string else set()
    if len(values) > 1:
        raise InvalidDigest("the request names two different digests; give one digest= parameter")
    if not values:
        if required:
            raise InvalidDigest("the request does not say what the blob is; end the upload with ?digest=")
        return None
    return names.digest(values.pop())


def _algorithm(request: HttpRequest) -> str:
    """`?digest-algorithm=` of a POST. Raises InvalidDigest."""
    wanted = request.parameter("digest-algorithm") if request.query_string else None
    if wanted is None:
        return "sha256"
    if wanted not in ALGORITHMS:
        raise InvalidDigest(
            f"digest-algorithm {wanted[:40]!r} is not supported; this registry knows {', '.join(ALGORITHMS)}"
        )
    return wanted


def _mount_digest(text: str) -> Digest | None:
    """None when it is no digest: the client gets an upload instead, as when the blob is not there."""
    try:
        return names.digest(text)
    except InvalidDigest:
        return None


def _mount_source(request: HttpRequest) -> str | None:
    source = request.parameter("from")
    if not source:
        return None
    try:
        return names.repository(source)
    except InvalidRepositoryName:
        return None


async def _would_a_wider_token_do(context: V2Context, request: HttpRequest, source: str) -> bool:
    """Whether the token does not hold pull on the source of a mount although its owner does."""
    principal = request.principal
    if (
        principal.scopes is None
        or (await context.services.access.decide(principal, Action.PULL, source)).allowed
    ):
        return False
    return (
        await context.services.access.decide(replace(principal, scopes=None), Action.PULL, source)
    ).allowed


def _ask_for_wider(context: V2Context, request: HttpRequest, repository: str, source: str) -> Response:
    """Clients that named only the target when they got their token then name both."""
    scopes = (f"repository:{repository}:pull,push", f"repository:{source}:pull")
    challenge = context.challenge(request, scopes, "insufficient_scope")
    return unauthorized(f"the token does not hold pull on {source}, from where to mount", challenge)


def _content_range(request: HttpRequest) -> tuple[int | None, int | None]:
    """(where the bytes should go, how many there are), each None when not said. Raises InvalidRange."""
    length = request.content_length()
    header = request.header(b"content-range")
    if header is None:
        return None, length
    start_at, end = parse_content_range(header)
    if length is not None and length != end - start_at:
        raise UploadRequestInvalid(
            f"Content-Range {header[:60]} is {end - start_at} bytes but Content-Length says {length}"
        )
    return start_at, end - start_at


def _position(repository: str, upload: Upload) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"location", upload_path(repository, upload.id).encode("ascii")),
        (b"range", upload_range(upload.offset).encode("ascii")),
        (b"docker-upload-uuid", upload.id.encode("ascii")),
    )


def _accepted(repository: str, upload: Upload) -> Response:
    return empty(202, *_position(repository, upload))


def _created(repository: str, digest: Digest) -> Response:
    return empty(
        201,
        (b"location", blob_path(repository, digest).encode("ascii")),
        (b"docker-content-digest", str(digest).encode("ascii")),
    )


__all__ = ["append", "cancel", "finish", "start", "status"]
