"""distribution-spec, "Determining Support" and "Legacy Docker support HTTP headers"."""

import pytest

from tests.support.distribution import WireRepository


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_api_says_that_it_is_there(repository: WireRepository, method: str, path: str) -> None:
    """end-1: a 200 means that this specification is implemented."""
    answer = repository(method, path)
    assert answer.status == 200
    assert answer.headers["content-length"] == "2"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/", 200),
        ("GET", "/v2/none/manifests/none", 404),
        ("GET", "/v2/none/blobs/sha256:" + "0" * 64, 404),
        ("GET", "/v2/none/tags/list", 404),
        ("GET", "/v2/_catalog", 200),
        ("POST", "/v2/some/blobs/uploads/", 202),
        ("PUT", "/v2/UPPER/manifests/x", 400),
        ("PATCH", "/v2/", 405),
        ("GET", "/v2/nowhere", 404),
    ],
)
def test_every_answer_carries_the_old_version_header(
    repository: WireRepository, method: str, path: str, status: int
) -> None:
    """'Legacy Docker support HTTP headers': clients may look for it on any answer."""
    answer = repository(method, path)
    assert answer.status == status
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
