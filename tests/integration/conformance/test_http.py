"""distribution-spec, "API": it is HTTP; what RFC 9112 allows is served, also what no client sends today."""

import socket

import pytest

from tests.support.distribution import OCI_MANIFEST, WireRepository
from tests.support.raw import read_answer


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        ("GET /v2/{name}/manifests/t HTTP/1.0", "Host: localhost"),
        ("GET http://localhost/v2/{name}/manifests/t HTTP/1.1", "Host: localhost"),
        ("GET /v2/{name}/manifests/t? HTTP/1.1", "Host: localhost"),
        ("GET /v2/{name}/manifests/t HTTP/1.1", "hOST:localhost"),
        ("GET /v2/{name}/manifests/t HTTP/1.1", "Host: localhost\r\nAccept: a/b\r\nAccept: c/d;q=0, */*"),
        (
            "GET /v2/{name}/manifests/t HTTP/1.1",
            "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
        ),
    ],
    ids=["1.0", "absolute", "empty-query", "case", "two-accepts", "upgrade"],
)
def test_unusual_pulls_are_answered(
    repository: WireRepository, registry_port: int, line: str, headers: str
) -> None:
    """RFC 9112 3.2.2, 9110 7.8: forms a server has to take, offers it may ignore."""
    repository.put_image("t")
    with socket.create_connection(("127.0.0.1", registry_port), timeout=60) as connection:
        connection.sendall(f"{line.format(name=repository.name)}\r\n{headers}\r\n\r\n".encode())
        assert read_answer(connection).status == 200


@pytest.mark.parametrize(
    ("headers", "statuses"),
    [
        ("Transfer-Encoding: chunked", [201]),
        ("Transfer-Encoding: chunked\r\nTrailer: X-Sum", [201]),
        ("Content-Length: {size}\r\nExpect: 100-continue", [100, 201]),
    ],
    ids=["chunk-extension", "trailer", "expect"],
)
def test_unusual_pushes_are_taken(
    repository: WireRepository, registry_port: int, headers: str, statuses: list[int]
) -> None:
    """RFC 9112 7.1: chunk extensions and trailers are skipped; 9110 10.1.1: 100 before the body."""
    raw = repository.manifest(repository.descriptor(b"layer"))
    head = f"PUT /v2/{repository.name}/manifests/t HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: {OCI_MANIFEST}\r\n{headers.format(size=len(raw))}\r\n\r\n"
    body = raw
    if "chunked" in headers:
        trailer = b"X-Sum: 1\r\n" if "Trailer" in headers else b""
        body = b"%x;why=not\r\n%b\r\n0\r\n%b\r\n" % (len(raw), raw, trailer)
    with socket.create_connection(("127.0.0.1", registry_port), timeout=60) as connection:
        connection.sendall(head.encode())
        seen = [read_answer(connection).status] if 100 in statuses else []
        connection.sendall(body)
        assert [*seen, read_answer(connection).status] == statuses
    assert repository("GET", "manifests/t").body == raw


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "get"])
def test_methods_there_are_not_are_told(repository: WireRepository, method: str) -> None:
    """RFC 9110 15.5.6: 405 with Allow."""
    answer = repository(method, "manifests/t")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PUT"
