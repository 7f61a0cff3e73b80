"""The words of the registry API: paths, headers, error codes, ranges, links (distribution-spec).

Client and server both speak through this module; it does no I/O. Every range here is half open
(`start`, `end` after the last byte), whatever the wire says; the functions translate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest

# Headers, in the spelling documents use; HTTP ignores case.
API_VERSION: Final = "Docker-Distribution-Api-Version"
API_VERSION_VALUE: Final = "registry/2.0"
CONTENT_DIGEST: Final = "Docker-Content-Digest"
UPLOAD_UUID: Final = "Docker-Upload-UUID"
CHUNK_MIN_LENGTH: Final = "OCI-Chunk-Min-Length"
CHUNK_MAX_LENGTH: Final = "OCI-Chunk-Max-Length"
FILTERS_APPLIED: Final = "OCI-Filters-Applied"
SUBJECT: Final = "OCI-Subject"
TAG: Final = "OCI-Tag"
WARNING: Final = "Warning"
AS_OF: Final = "Entrepot-As-Of"
"""Ours: the moment a manifest was asked for with `?at=`. An answer without it is of now."""


class ErrorCode(str, Enum):  # noqa: UP042 - str() of a code is written by clients as the bare word
    """Codes of the specification, each with its usual status. TAG_INVALID is docker's, which it names too.

    The last two are for answers of 500 and above, which it leaves open.
    """

    status: int

    def __new__(cls, code: str, status: int) -> ErrorCode:
        member = str.__new__(cls, code)
        member._value_ = code
        member.status = status
        return member

    def __str__(self) -> str:
        return str(self.value)

    BLOB_UNKNOWN = ("BLOB_UNKNOWN", 404)
    BLOB_UPLOAD_INVALID = ("BLOB_UPLOAD_INVALID", 400)
    BLOB_UPLOAD_UNKNOWN = ("BLOB_UPLOAD_UNKNOWN", 404)
    DIGEST_INVALID = ("DIGEST_INVALID", 400)
    MANIFEST_BLOB_UNKNOWN = ("MANIFEST_BLOB_UNKNOWN", 404)
    MANIFEST_INVALID = ("MANIFEST_INVALID", 400)
    MANIFEST_UNKNOWN = ("MANIFEST_UNKNOWN", 404)
    NAME_INVALID = ("NAME_INVALID", 400)
    NAME_UNKNOWN = ("NAME_UNKNOWN", 404)
    SIZE_INVALID = ("SIZE_INVALID", 400)
    TAG_INVALID = ("TAG_INVALID", 400)
    UNAUTHORIZED = ("UNAUTHORIZED", 401)
    DENIED = ("DENIED", 403)
    UNSUPPORTED = ("UNSUPPORTED", 405)
    TOOMANYREQUESTS = ("TOOMANYREQUESTS", 429)
    UNAVAILABLE = ("UNAVAILABLE", 503)
    UNKNOWN = ("UNKNOWN", 500)


class InvalidRange(InvalidInput):
    """A range header that can't be understood or can't be met."""

    code = "invalid-range"


# --- paths


def manifest_path(repository: str, reference: str | Digest) -> str:
    return f"/v2/{repository}/manifests/{reference}"


def manifest_path_at(repository: str, reference: str | Digest, at: str) -> str:
    """Ours: the manifest as it was at a time (RFC 3339)."""
    return f"{manifest_path(repository, reference)}?{urlencode({'at': at})}"


def blob_path(repository: str, digest: Digest) -> str:
    return f"/v2/{repository}/blobs/{digest}"


def uploads_path(repository: str) -> str:
    """Where an upload is started."""
    return f"/v2/{repository}/blobs/uploads/"


def upload_path(repository: str, upload: str) -> str:
    return f"/v2/{repository}/blobs/uploads/{quote(upload, safe='')}"


def tags_path(repository: str) -> str:
    return f"/v2/{repository}/tags/list"


def referrers_path(repository: str, digest: Digest) -> str:
    return f"/v2/{repository}/referrers/{digest}"


def catalog_path() -> str:
    return "/v2/_catalog"


def fallback_tag(subject: Digest) -> str:
    """The tag under which referrers are listed where the API is missing (Referrers Tag Schema)."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


# --- errors


def error_body(code: ErrorCode | str, message: str, detail: Any = None) -> bytes:
    """The reason people should read comes first and alone: docker shows only the first entry."""
    entry: dict[str, Any] = {"code": str(code), "message": message}
    if detail is not None:
        entry["detail"] = detail
    return msgspec.json.encode({"errors": [entry]})


# --- ranges

_BYTE_RANGE: Final = re.compile(r"bytes *+= *+([0-9]{0,19}+) *+- *+([0-9]{0,19}+)", re.IGNORECASE)
_CONTENT_RANGE: Final = re.compile(
    r"(?:bytes[ =])?[ \t]*([0-9]{1,19})-([0-9]{1,19})(?:/(?:[0-9]{1,19}|\*))?", re.IGNORECASE
)
_UPLOAD_RANGE: Final = re.compile(r"(?:bytes=)?([0-9]{1,19})-([0-9]{1,19})")


def parse_byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Of a `Range` request header on content of `size` bytes: `(start, end)`, end exclusive.

    None when the header is missing, malformed or asks for several ranges: the whole content is then
    a right answer (RFC 9110, 14.2). Raises InvalidRange when no byte of it exists (416).
    """
    found = _BYTE_RANGE.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            # HTTP lets a server ignore it; the specification's own tests ask for a refusal.
            raise InvalidRange(f"the range ends at byte {last}, before its start")
    elif last:
        start, end = max(size - int(last), 0), size
        if int(last) == 0:
            raise InvalidRange(f"no byte of {size} is in the range")
    else:
        return None
    if start >= size:
        raise InvalidRange(f"the range starts at byte {start}, but there are {size} bytes")
    return start, end


def parse_content_range(header: str) -> tuple[int, int]:
    """Of an upload's chunk: `0-99`, or `bytes 0-99/…` as HTTP spells it; `(start, end)`, end exclusive.

    Raises InvalidRange.
    """
    found = _CONTENT_RANGE.fullmatch(header.strip())
    if found is None:
        raise InvalidRange("Content-Range must look like 0-99")
    start, last = int(found[1]), int(found[2])
    if last < start:
        raise InvalidRange("Content-Range ends before it starts")
    return start, last + 1


def upload_range(offset: int) -> str:
    """The `Range` header of an upload that holds `offset` bytes. An empty one can't be told from one byte."""
    return f"0-{max(offset - 1, 0)}"


def parse_upload_range(header: str) -> int:
    """How many bytes an upload holds by its `Range` header (0 for `0-0`). Raises InvalidRange."""
    found = _UPLOAD_RANGE.fullmatch(header.strip())
    if found is None or int(found[1]) != 0:
        raise InvalidRange("the registry's Range header must look like 0-99")
    last = int(found[2])
    return last + 1 if last else 0


# --- links

_LINK: Final = re.compile(r'<([^<>]*+)>((?:\s*+;\s*+[^\s=;,]++\s*+=\s*+(?:"[^"]*+"|[^",;\s]*+))*+)')
_RELATION: Final = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^",;\s]*))', re.IGNORECASE)
MAX_LINK_LENGTH: Final = 8192


def link_next(path: str, params: Mapping[str, str | int]) -> str:
    """The `Link` header that leads to the next page; relative, so that any proxy may be in front."""
    return f'<{path}?{urlencode(params)}>; rel="next"'


def parse_link(header: str | None) -> str | None:
    """Where the next page is (a URL reference, to be resolved by the caller), None when this is the last."""
    if not header or len(header) > MAX_LINK_LENGTH:
        return None
    for target, parameters in _LINK.findall(header):
        for quoted, bare in _RELATION.findall(parameters):
            if "next" in (quoted or bare).lower().split():
                return str(target)
    return None
