"""What clients are told of a store that fails, and what the log is."""

from typing import Any

import pytest

from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.http import outage
from entrepot.server.http.outage import EVERY_S, Outages, told
from entrepot.server.http.request import HttpRequest
from entrepot.server.repos.errors import BlobUnknown
from entrepot.server.storage.errors import StorageFailed, StorageFull
from entrepot.server.v2.errors import response_to

SECRET = "reading blobs/sha256/ab failed: http://10.1.2.3:8333/bucket/prefix refused"


class Lines:
    """A log that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    def error(self, event: str, **fields: Any) -> None:
        self.written.append({"event": event, **fields})


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    made = Lines()
    monkeypatch.setattr(outage, "log", made)
    return made


@pytest.mark.parametrize("kind", [StorageFailed, StorageFull])
def test_the_log_has_the_reason_and_the_client_a_sentence(kind: type[StorageFailed], lines: Lines) -> None:
    """S1, D1: neither endpoint nor bucket nor object name leaves the registry."""
    request = told(kind(SECRET, retry_after_s=7), path="/v2/a/blobs/b", request_id="r-1", outages=Outages())
    assert isinstance(request, kind)
    assert "10.1.2.3" not in request.message
    assert "blobs/" not in request.message
    assert "r-1" in request.message
    assert request.retry_after_s == 7
    (line,) = lines.written
    assert (line["event"], line["reason"], line["request_id"]) == ("store failed", SECRET, "r-1")


def test_the_registry_api_answers_so(lines: Lines) -> None:
    request = HttpRequest("PUT", "/v2/a/blobs/uploads/x", headers={}, receive=None, id="r-2")  # type: ignore[arg-type]
    answer = response_to(StorageFailed(SECRET), request)
    assert answer.status == 503
    assert b"bucket" not in answer.body
    assert b"r-2" in answer.body
    assert answer.header(b"retry-after") is not None


def test_one_line_a_second_for_each_kind(lines: Lines) -> None:
    """S1: while the store is away every request meets it."""
    outages = Outages()
    for number in range(50):
        outages.note(StorageFailed(SECRET), path="/", request_id=str(number), now=1.0 + number / 1000)
    outages.note(CatalogUnavailable("no answer"), path="/", request_id="c", now=1.5)
    outages.note(StorageFailed(SECRET), path="/", request_id="last", now=1.0 + EVERY_S)
    assert [line["request_id"] for line in lines.written] == ["0", "c", "last"]
    assert lines.written[-1]["others"] == 49


def test_other_errors_are_told_as_they_are(lines: Lines) -> None:
    error = BlobUnknown("a/b", "sha256:" + "0" * 64)
    assert told(error, path="/", request_id="r", outages=Outages()) is error
    assert lines.written == []
