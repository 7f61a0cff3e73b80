"""Manifests on the wire (distribution-spec: "Pulling manifests", "Pushing Manifests", "Deleting").

The stored bytes go out as they came in, under the media type they came with; `Accept` never converts. They
are what somebody made up, so they are sent as inert as blobs.
"""

from __future__ import annotations

from functools import lru_cache

from entrepot.oci import mediatype
from entrepot.oci.digest import Digest
from entrepot.oci.distribution import manifest_path
from entrepot.oci.reference import InvalidTag, RepositoryName, TagName, parse_tag
from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import API_VERSION, INERT, Response, empty, number
from entrepot.server.repos.errors import ManifestUnknown
from entrepot.server.repos.manifests import StoredManifest
from entrepot.server.v2 import asof, names
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.etags import matches_none, parse_if_match


@lru_cache(maxsize=256)
def _content_type(media_type: str) -> tuple[bytes, bytes]:
    """No push brings another kind of type; were one in the database, no browser may take it seriously."""
    safe = media_type if mediatype.may_be_manifest(media_type) else mediatype.OCTET_STREAM
    return b"content-type", safe.encode("ascii")


async def get(context: V2Context, request: HttpRequest, name: str, reference: str) -> Response:
    """GET and HEAD, by tag or digest."""
    repository = names.repository(name)
    wanted = _existing(repository, reference)
    at = request.parameter("at") if request.query_string else None
    found: StoredManifest | None
    if at is not None:
        found = await asof.at_time(context, repository, wanted, at)
    elif request.method == "HEAD":
        found = await context.services.manifests.head(repository, wanted)
    else:
        found = await context.services.manifests.get(repository, wanted)
    warning = None
    if (found is None or found.proxied) and at is None:
        served = await context.services.pull_through.manifest(
            repository, wanted, found, content=request.method != "HEAD"
        )
        found, warning = (None, None) if served is None else (served.manifest, served.warning)
    if found is None:
        raise ManifestUnknown(repository, wanted)
    text = str(found.digest)
    digest = text.encode("ascii")
    etag = b'"%b"' % digest
    none_match = request.headers.get(b"if-none-match")
    if none_match is not None and matches_none(none_match, digest):
        return Response(304, [API_VERSION, (b"docker-content-digest", digest), (b"etag", etag)])
    tag = None if isinstance(wanted, Digest) else wanted
    who = f"{request.principal.name} {request.address}"
    if not found.repo_id:
        pass  # an upstream's, and not kept
    elif request.method == "GET":
        context.services.pulls.note(found.repo_id, text, tag, who)
    elif tag is not None:
        context.services.pulls.note_look(found.repo_id, text, tag, who)
    headers = [
        API_VERSION,
        _content_type(found.media_type),
        (b"content-length", number(found.size)),
        (b"docker-content-digest", digest),
        (b"etag", etag),
        *INERT,
    ]
    if at is not None:
        headers.append(asof.header(at))
    if warning is not None:
        headers.append(_warning(warning))
    return Response(200, headers, b"" if request.method == "HEAD" else found.raw)


def _existing(repository: RepositoryName, reference: str) -> TagName | Digest:
    """What is asked for. Raises InvalidDigest, and ManifestUnknown for what can be no tag of any manifest."""
    try:
        return names.reference(reference)
    except InvalidTag as error:
        raise ManifestUnknown(repository, reference[:200]) from error


async def put(context: V2Context, request: HttpRequest, name: str, reference: str) -> Response:
    """Push a manifest by tag, or by digest with any number of `tag=` parameters."""
    repository = names.repository(name)
    wanted = names.reference(reference)
    is_digest = isinstance(wanted, Digest)
    extra_tags = _tag_parameters(request)
    if_match, if_none_match_any = parse_if_match(request)
    raw = await request.body(limit=context.services.config.limits.manifest_bytes, what="the manifest")
    stored = await context.services.manifests.put(
        repository,
        raw=raw,
        media_type=request.header(b"content-type") or "",
        tag=None if isinstance(wanted, Digest) else wanted,
        digest=wanted if isinstance(wanted, Digest) else None,
        extra_tags=extra_tags,
        if_match=if_match,
        if_none_match_any=if_none_match_any,
        actor=context.actor(request),
        permit=context.services.access.permit_for(request.principal),
    )
    digest = str(stored.digest).encode("ascii")
    location = manifest_path(repository, stored.digest).encode("ascii")
    headers = [(b"location", location), (b"docker-content-digest", digest), (b"etag", b'"%b"' % digest)]
    if stored.subject is not None:
        headers.append((b"oci-subject", str(stored.subject).encode("ascii")))
    if extra_tags and is_digest:
        headers.extend((b"oci-tag", tag.encode("ascii")) for tag in extra_tags)
    return empty(201, *headers)


def _tag_parameters(request: HttpRequest) -> tuple[TagName, ...]:
    """`?tag=a&tag=b`. Raises InvalidTag."""
    texts = request.parameters("tag") if request.query_string else []
    return tuple(dict.fromkeys(parse_tag(text) for text in texts))


async def delete_manifest(context: V2Context, request: HttpRequest, name: str, digest: str) -> Response:
    """The manifest and every tag on it."""
    repository = names.repository(name)
    await context.services.manifests.delete_manifest(
        repository,
        names.digest(digest),
        actor=context.actor(request),
        permit=context.services.access.permit_for(request.principal),
    )
    return empty(202)


async def delete_tag(context: V2Context, request: HttpRequest, name: str, tag: str) -> Response:
    """The tag alone; the manifest stays."""
    repository = names.repository(name)
    wanted = _existing(repository, tag)
    assert not isinstance(wanted, Digest)  # the routes tell them apart
    await context.services.manifests.delete_tag(
        repository,
        wanted,
        actor=context.actor(request),
        permit=context.services.access.permit_for(request.principal),
    )
    return empty(202)


def _warning(text: str) -> tuple[bytes, bytes]:
    """distribution-spec, "Warnings": `299 - "text"`, of printable characters."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)
    return b"warning", b'299 - "%b"' % plain[:1000].encode("ascii")
