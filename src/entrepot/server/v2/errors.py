"""From our errors to the wire: one table of class → (status, code), and the JSON body docker reads.

distribution-spec, "Error Codes". The sentence a person should read is `errors[0].message`; the rest is
detail. Policy (limits, permissions) is 403 DENIED or 429, never a code outside of the specification.
"""

from __future__ import annotations

from typing import Any

from entrepot.errors import (
    Conflict,
    Denied,
    EntrepotError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unavailable,
    VerificationFailed,
)
from entrepot.oci.digest import InvalidDigest
from entrepot.oci.distribution import ErrorCode, InvalidRange, upload_path, upload_range
from entrepot.oci.manifest import InvalidManifest, ManifestTooLarge
from entrepot.oci.reference import InvalidReference, InvalidRepositoryName, InvalidTag
from entrepot.server.db.errors import CatalogFull
from entrepot.server.http.outage import told
from entrepot.server.http.refusals import (
    error_response,
    invalid_code,
)
from entrepot.server.http.request import BodyLengthWrong, BodyTooLarge, HttpRequest, QueryTooLong
from entrepot.server.http.response import Response, number
from entrepot.server.repos import errors as repos
from entrepot.server.storage.errors import BlobMissing, StorageFull, UploadShort

TABLE: tuple[tuple[type[EntrepotError], int, ErrorCode], ...] = (
    # Most specific first: the first row an error is an instance of decides.
    (repos.BlobUnknown, 404, ErrorCode.BLOB_UNKNOWN),
    (repos.ManifestUnknown, 404, ErrorCode.MANIFEST_UNKNOWN),
    (repos.NameUnknown, 404, ErrorCode.NAME_UNKNOWN),
    (repos.UploadUnknown, 404, ErrorCode.BLOB_UPLOAD_UNKNOWN),
    (repos.ManifestBlobUnknown, 404, ErrorCode.MANIFEST_BLOB_UNKNOWN),
    (repos.RangeInvalid, 416, ErrorCode.BLOB_UPLOAD_INVALID),
    (repos.UploadBusy, 409, ErrorCode.BLOB_UPLOAD_INVALID),
    (repos.ContentMismatch, 400, ErrorCode.DIGEST_INVALID),
    (repos.SizeInvalid, 400, ErrorCode.SIZE_INVALID),
    (repos.BlobTooLarge, 413, ErrorCode.SIZE_INVALID),
    (repos.TooManyTags, 414, ErrorCode.UNSUPPORTED),
    (repos.PreconditionFailed, 412, ErrorCode.DENIED),
    (UploadShort, 404, ErrorCode.BLOB_UPLOAD_UNKNOWN),
    (BlobMissing, 404, ErrorCode.BLOB_UNKNOWN),
    (StorageFull, 507, ErrorCode.UNAVAILABLE),
    (CatalogFull, 507, ErrorCode.UNAVAILABLE),
    (ManifestTooLarge, 413, ErrorCode.MANIFEST_INVALID),
    (BodyTooLarge, 413, ErrorCode.SIZE_INVALID),
    (BodyLengthWrong, 400, ErrorCode.SIZE_INVALID),
    (InvalidManifest, 400, ErrorCode.MANIFEST_INVALID),
    (InvalidDigest, 400, ErrorCode.DIGEST_INVALID),
    (InvalidTag, 400, ErrorCode.TAG_INVALID),
    (InvalidRepositoryName, 400, ErrorCode.NAME_INVALID),
    (InvalidReference, 400, ErrorCode.NAME_INVALID),
    (InvalidRange, 400, ErrorCode.BLOB_UPLOAD_INVALID),
    (QueryTooLong, 414, ErrorCode.UNSUPPORTED),
    # By kind, for errors that have no row of their own.
    (Denied, 403, ErrorCode.DENIED),
    (Unavailable, 503, ErrorCode.UNAVAILABLE),
    (LimitExceeded, 429, ErrorCode.TOOMANYREQUESTS),
    (VerificationFailed, 400, ErrorCode.DIGEST_INVALID),
    (Conflict, 409, ErrorCode.DENIED),
    (NotFound, 404, ErrorCode.NAME_UNKNOWN),
    (InvalidInput, 400, ErrorCode.UNSUPPORTED),
)


def classify(error: EntrepotError, path: str = "") -> tuple[int, ErrorCode]:
    """Status and code of an error that happened on `path`. Pure."""
    for kind, status, code in TABLE:
        if isinstance(error, kind):
            return status, invalid_code(path) if kind is InvalidInput else code
    return 500, ErrorCode.UNKNOWN


def response_to(error: EntrepotError, request: HttpRequest) -> Response:
    """The answer that tells a client about `error`."""
    error = told(error, path=request.path, request_id=request.id)
    status, code = classify(error, request.path)
    headers: list[tuple[bytes, bytes]] = []
    retry_after_s = getattr(error, "retry_after_s", None)
    if status in (429, 503, 507):
        headers.append((b"retry-after", number(max(1, round(retry_after_s or 5)))))
    if isinstance(error, (repos.RangeInvalid, repos.UploadBusy)):
        headers += _where_the_upload_stands(error, request)
    return error_response(status, code, sentence(error), _detail(error), *headers)


def sentence(error: EntrepotError) -> str:
    """What failed, and what to do about it."""
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _where_the_upload_stands(
    error: repos.RangeInvalid | repos.UploadBusy, request: HttpRequest
) -> list[tuple[bytes, bytes]]:
    name, _, upload = request.path.removeprefix("/v2/").partition("/blobs/uploads/")
    return [
        (b"location", upload_path(name, upload).encode("latin-1")),
        (b"range", upload_range(error.offset).encode("ascii")),
    ]


def _detail(error: EntrepotError) -> Any:
    digest = getattr(error, "digest", None)
    return None if digest is None else {"digest": str(digest)}


def range_not_satisfiable(error: EntrepotError, size: int) -> Response:
    """Of a download: no such byte."""
    return error_response(
        416, ErrorCode.SIZE_INVALID, error.message, None, (b"content-range", b"bytes */%d" % size)
    )


def no_such_route(request: HttpRequest, allowed: frozenset[str]) -> Response:
    """405 with `Allow` when the path exists, else 404."""
    if allowed:
        return error_response(
            405,
            ErrorCode.UNSUPPORTED,
            f"{request.method} is not possible here; this path knows {', '.join(sorted(allowed))}",
            None,
            (b"allow", ", ".join(sorted(allowed)).encode("ascii")),
        )
    return error_response(404, ErrorCode.NAME_UNKNOWN, "there is nothing at this path of the registry API")
