"""Refusals of the registry API that depend on no service: the JSON body docker reads.

distribution-spec, "Error Codes".
"""

from __future__ import annotations

from typing import Any

from entrepot.oci.distribution import ErrorCode, error_body
from entrepot.server.http.response import Response, json_response

__all__ = ["denied", "error_response", "internal", "invalid_code", "refusal", "unauthorized"]

_INVALID_BY_ROUTE = (
    ("/manifests/", ErrorCode.MANIFEST_INVALID),
    ("/blobs/uploads", ErrorCode.BLOB_UPLOAD_INVALID),
)


def invalid_code(path: str) -> ErrorCode:
    """The code of a request that is wrong in a way that has no code of its own. Pure."""
    return next((code for part, code in _INVALID_BY_ROUTE if part in path), ErrorCode.UNSUPPORTED)


def error_response(
    status: int, code: ErrorCode, message: str, detail: Any = None, *headers: tuple[bytes, bytes]
) -> Response:
    return json_response(status, error_body(code, message, detail), *headers)


def unauthorized(message: str, challenge: str | None) -> Response:
    headers = [] if challenge is None else [(b"www-authenticate", challenge.encode("latin-1"))]
    return error_response(401, ErrorCode.UNAUTHORIZED, message, None, *headers)


def denied(message: str) -> Response:
    return error_response(403, ErrorCode.DENIED, message)


def internal(request_id: str) -> Response:
    return error_response(
        500, ErrorCode.UNKNOWN, f"the registry failed; its log says why under request id {request_id}"
    )


def refusal(status: int, code: ErrorCode, message: str) -> Response:
    """For what is refused before routing: hosts, origins, lengths."""
    return error_response(status, code, message)
