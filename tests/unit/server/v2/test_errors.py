"""Every error there is becomes a status and a code of the specification."""

import json

import pytest

import entrepot.server.repos.errors as repos
from entrepot.errors import Conflict, Denied, EntrepotError, InvalidInput, NotFound, Unavailable
from entrepot.oci.distribution import ErrorCode
from entrepot.server.db.errors import CatalogFull, CatalogUnavailable
from entrepot.server.http.request import HttpRequest
from entrepot.server.storage.errors import BlobUnreadable, StorageFailed, StorageFull
from entrepot.server.v2.errors import TABLE, classify, response_to


async def _nothing() -> dict[str, object]:
    return {"type": "http.disconnect"}


def request(path: str = "/v2/a/manifests/t") -> HttpRequest:
    return HttpRequest("GET", path, headers={}, receive=_nothing)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (repos.BlobUnknown("a", "d"), 404, ErrorCode.BLOB_UNKNOWN),
        (repos.ManifestUnknown("a", "t"), 404, ErrorCode.MANIFEST_UNKNOWN),
        (repos.NameUnknown("a"), 404, ErrorCode.NAME_UNKNOWN),
        (repos.UploadUnknown("u"), 404, ErrorCode.BLOB_UPLOAD_UNKNOWN),
        (repos.UploadBusy("u", 5), 409, ErrorCode.BLOB_UPLOAD_INVALID),
        (repos.RangeInvalid("u", 5, 9), 416, ErrorCode.BLOB_UPLOAD_INVALID),
        (repos.PreconditionFailed("tag t", None), 412, ErrorCode.DENIED),
        (repos.QuotaExceeded("p", 5), 403, ErrorCode.DENIED),
        (repos.BlobTooLarge(5), 413, ErrorCode.SIZE_INVALID),
        (repos.TooManyTags(5), 414, ErrorCode.UNSUPPORTED),
        (repos.TooManyUploads(5), 429, ErrorCode.TOOMANYREQUESTS),
        (StorageFull("full"), 507, ErrorCode.UNAVAILABLE),
        (StorageFailed("failed"), 503, ErrorCode.UNAVAILABLE),
        (BlobUnreadable("blobs/x", "Input/output error"), 503, ErrorCode.UNAVAILABLE),
        (CatalogFull("full"), 507, ErrorCode.UNAVAILABLE),
        (CatalogUnavailable("locked"), 503, ErrorCode.UNAVAILABLE),
        (Denied("no"), 403, ErrorCode.DENIED),
        (Conflict("no"), 409, ErrorCode.DENIED),
        (NotFound("no"), 404, ErrorCode.NAME_UNKNOWN),
        (InvalidInput("no"), 400, ErrorCode.MANIFEST_INVALID),
        (EntrepotError("no"), 500, ErrorCode.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, EntrepotError) else "",
)
def test_errors_have_their_code(error: EntrepotError, status: int, code: ErrorCode) -> None:
    answer = response_to(error, request())
    assert answer.status == status
    assert json.loads(answer.body)["errors"][0]["code"] == str(code)


def test_clients_errors_have_codes_of_the_specification() -> None:
    """distribution-spec, "Error Codes": the list is closed; TAG_INVALID is docker's, which it names too."""
    server_only = {ErrorCode.UNAVAILABLE, ErrorCode.UNKNOWN}
    assert all(status >= 500 for _, status, code in TABLE if code in server_only)
    listed = set(ErrorCode) - server_only - {ErrorCode.TAG_INVALID}
    assert len(listed) == 14


def test_no_row_is_shadowed_by_an_earlier_one() -> None:
    for number, (kind, _, _) in enumerate(TABLE):
        assert not any(issubclass(kind, earlier) for earlier, _, _ in TABLE[:number]), kind


def test_a_later_try_is_announced() -> None:
    answer = response_to(Unavailable("busy", retry_after_s=12.4), request())
    assert answer.header(b"retry-after") == b"12"


def test_a_hint_belongs_to_the_sentence() -> None:
    answer = response_to(NotFound("it is gone", hint="push it again"), request())
    assert json.loads(answer.body)["errors"][0]["message"] == "it is gone; push it again"


def test_a_busy_upload_tells_where_it_stands() -> None:
    answer = response_to(repos.UploadBusy("u", 100), request("/v2/a/b/blobs/uploads/u"))
    assert answer.header(b"range") == b"0-99"
    assert answer.header(b"location") == b"/v2/a/b/blobs/uploads/u"


def test_the_kind_of_route_names_what_is_invalid() -> None:
    assert classify(InvalidInput("x"), "/v2/a/blobs/uploads/u") == (400, ErrorCode.BLOB_UPLOAD_INVALID)
    assert classify(InvalidInput("x"), "/v2/_catalog") == (400, ErrorCode.UNSUPPORTED)
