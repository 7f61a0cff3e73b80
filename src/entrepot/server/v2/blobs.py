"""Blobs on the wire (distribution-spec: "Pulling blobs", "Deleting Blobs").

A download sends exactly the bytes promised or breaks the connection: a short answer never looks complete.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from entrepot.oci.digest import Digest
from entrepot.oci.distribution import InvalidRange, parse_byte_range
from entrepot.server.access.decision.model import Action
from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import API_VERSION, INERT, HeaderList, Response, empty, number
from entrepot.server.movement.upstreams.fill import Fill
from entrepot.server.repos.blobs import StoredBlob
from entrepot.server.repos.errors import BlobUnknown
from entrepot.server.v2 import caching, names
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.etags import matches_none

_OCTETS = (b"content-type", b"application/octet-stream")
_RANGES = (b"accept-ranges", b"bytes")


async def get(context: V2Context, request: HttpRequest, name: str, digest: str) -> Response:
    """Whole, or the one range that was asked for."""
    repository, wanted = names.repository(name), names.digest(digest)
    blob: StoredBlob | Fill | None = await context.services.blobs.find(repository, wanted)
    if blob is None:
        blob = await context.services.pull_through.blob(repository, wanted)
        if blob is None:
            raise BlobUnknown(repository, wanted)
    etag, headers = _about(request, wanted)
    if _is_known(request, etag):
        return Response(304, headers)
    assert blob.size is not None  # a fill is handed out once it knows
    span = _span(request, etag, blob.size)
    if isinstance(span, Response):
        return span
    start, end = span or (0, blob.size)
    if isinstance(blob, StoredBlob):
        url = await _signed_url(context, request, blob)
        if url is not None:
            return empty(307, (b"location", url), (b"docker-content-digest", etag.strip(b'"')))
        stream = await context.services.blobs.open(blob, start, end) if end > start else _nothing()
    else:
        stream = blob.read(start, end)
    headers += [_OCTETS, (b"content-length", number(end - start)), *INERT]
    if span is not None:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, blob.size)))
    return Response(206 if span is not None else 200, headers, stream=stream, size=end - start)


async def head(context: V2Context, request: HttpRequest, name: str, digest: str) -> Response:
    """Whether it is there. Asked by someone who may push, it also keeps the blob for their manifest."""
    repository, wanted = names.repository(name), names.digest(digest)
    blob = await context.services.blobs.find(repository, wanted)
    size = await context.services.pull_through.blob_size(repository, wanted) if blob is None else blob.size
    if size is None:
        raise BlobUnknown(repository, wanted)
    etag, headers = _about(request, wanted)
    if _is_known(request, etag):
        return Response(304, headers)
    if blob is not None:
        may_push = await context.services.access.decide(request.principal, Action.PUSH, name)
        if may_push.allowed and not await context.services.blobs.renew_lease(blob):
            raise BlobUnknown(name, blob.digest)
    headers += [_OCTETS, (b"content-length", number(size)), *INERT]
    return Response(200, headers, size=0)


async def delete(context: V2Context, request: HttpRequest, name: str, digest: str) -> Response:
    await context.services.blobs.delete(
        names.repository(name),
        names.digest(digest),
        actor=context.actor(request),
        permit=context.services.access.permit_for(request.principal),
    )
    return empty(202)


def _about(request: HttpRequest, digest: Digest) -> tuple[bytes, HeaderList]:
    text = str(digest).encode("ascii")
    etag = b'"%b"' % text
    kept = caching.forever(request.principal)
    return etag, [API_VERSION, _RANGES, (b"docker-content-digest", text), (b"etag", etag), kept]


def _is_known(request: HttpRequest, etag: bytes) -> bool:
    none_match = request.headers.get(b"if-none-match")
    return none_match is not None and matches_none(none_match, etag.strip(b'"'))


def _span(request: HttpRequest, etag: bytes, size: int) -> tuple[int, int] | Response | None:
    """The range to send; None for all of it; the 416 when there is no such byte."""
    header = request.header(b"range")
    if header is None:
        return None
    if_range = request.headers.get(b"if-range")
    if if_range is not None and if_range.strip() != etag:
        return None
    try:
        return parse_byte_range(header, size)
    except InvalidRange as error:
        from entrepot.server.v2.errors import range_not_satisfiable

        return range_not_satisfiable(error, size)


async def _signed_url(context: V2Context, request: HttpRequest, blob: StoredBlob) -> bytes | None:
    """Where the client may fetch the blob itself, when it is to be sent there and the store can."""
    if not context.redirect.sends(request.address):
        return None
    url = await context.services.blobs.signed_url(blob, expires_s=context.redirect.expires_s)
    return None if url is None else url.encode("ascii")


async def _nothing() -> AsyncGenerator[bytes, None]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece
