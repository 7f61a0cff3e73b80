"""What no client sends in paths, queries and headers: refused as what it is, never a failure."""

import itertools

import httpx
import pytest

from tests.unit.server.api.conftest import Registry, registry, team

pytestmark = pytest.mark.anyio
__all__ = ["registry", "team"]

ODD = [
    "%0d%0aX-Evil:%201",
    "%00",
    "%ff%fe",
    "%ed%a0%80",
    "..%2f..",
    "%E2%80%AE",
    "sha256:%0a",
    "sha256:",
    ":",
    "%3A",
    "a" * 300,
    "%",
    "%zz",
    "'\"<>\\",
    "v1%0d",
    "sha512:" + "0" * 64,
    "sha256:" + "A" * 64,
    "sha256:" + "0" * 63 + "%0a",
]
PATHS = [
    "/v2/acme/app/manifests/{}",
    "/v2/acme/app/blobs/{}",
    "/v2/acme/app/referrers/{}",
    "/v2/acme/app/blobs/uploads/{}",
    "/v2/acme/{}/manifests/v1",
    "/v2/{}/tags/list",
    "/v2/acme/app/tags/list?last={}",
    "/v2/acme/app/tags/list?n={}",
    "/v2/_catalog?last={}&n=1",
    "/v2/acme/app/referrers/sha256:" + "0" * 64 + "?artifactType={}&last={}",
    "/v2/acme/app/manifests/v1?at={}",
    "/v2/acme/app/manifests/v1?ns={}",
    "/v1/search?q={}&page=1",
    "/v1/search?q=a&page={}",
    "/token?scope=repository:{}:pull&service={}&client_id={}",
]
HEADERS = ["if-none-match", "if-match", "range", "if-range", "accept", "content-type", "content-range"]


async def send(registry: Registry, method: str, path: str, headers: dict[str, bytes] | None = None) -> int:
    """Exactly these bytes, as root; the status."""
    request = registry.client.build_request(method, "/", headers={})
    request.url = httpx.URL("http://registry.test", raw_path=path.encode("latin-1"))
    root = httpx.BasicAuth(*registry.auth("root"))  # type: ignore[misc]
    request = next(root.auth_flow(request))
    raw = [(name.encode(), value) for name, value in (headers or {}).items()]
    request.headers = httpx.Headers([*request.headers.raw, *raw])
    answer = await registry.client.send(request)
    assert "x-evil" not in answer.headers
    assert all("\n" not in value and "\r" not in value for value in answer.headers.values())
    return answer.status_code


@pytest.mark.parametrize("path", PATHS)
async def test_odd_addresses_fail_nothing(team: Registry, path: str) -> None:
    for odd, method in itertools.product(ODD, ("GET", "HEAD", "DELETE", "PUT", "POST", "PATCH")):
        status = await send(team, method, path.replace("{}", odd))
        assert 200 <= status < 500, (method, path, odd, status)


@pytest.mark.parametrize("header", HEADERS)
async def test_odd_headers_fail_nothing(team: Registry, header: str) -> None:
    made = await team.push("acme/app", "v1")
    blob = next(iter(made.blobs))
    for odd in (
        b"",
        b"\xff",
        b"\xe2\x80\xae",
        b'"',
        b",,,",
        b"*",
        b"bytes=9-1",
        b"bytes=-0",
        b"a" * 4000,
        b"1-",
        b";",
    ):
        for method, path in (
            ("GET", "/v2/acme/app/manifests/v1"),
            ("GET", f"/v2/acme/app/blobs/{blob}"),
            ("HEAD", f"/v2/acme/app/blobs/{blob}"),
            ("PUT", "/v2/acme/app/manifests/v2"),
            ("POST", "/v2/acme/app/blobs/uploads/"),
        ):
            status = await send(team, method, path, {header: odd})
            assert 200 <= status < 500, (method, path, odd, status)
