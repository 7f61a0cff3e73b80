"""What a handler answers: status, headers as bytes, and a body in memory or as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

HeaderList = list[tuple[bytes, bytes]]

API_VERSION: Final = (b"docker-distribution-api-version", b"registry/2.0")
NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
INERT: Final = (
    (b"content-disposition", b"attachment"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    NOSNIFF,
)
"""Of every answer with a body: much of it is whatever somebody pushed, or repeats what was asked. It comes
from the origin of the pages, so a browser must neither show nor run it.
"""
JSON: Final = (b"content-type", b"application/json")
EMPTY: Final = (b"content-length", b"0")


class Response:
    """One answer. With `stream` the body is that stream, closed by whoever sends it; `size` is its length."""

    __slots__ = ("body", "headers", "size", "status", "stream")

    def __init__(
        self,
        status: int,
        headers: HeaderList,
        body: bytes = b"",
        *,
        stream: AsyncGenerator[bytes, None] | None = None,
        size: int | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.stream = stream
        self.size = len(body) if size is None else size

    def header(self, name: bytes) -> bytes | None:
        """For tests and middleware."""
        return next((value for key, value in self.headers if key == name), None)


def number(value: int) -> bytes:
    return b"%d" % value


def json_response(status: int, body: bytes, *extra: tuple[bytes, bytes]) -> Response:
    """`body` is encoded JSON."""
    headers = [API_VERSION, JSON, *INERT, (b"content-length", number(len(body))), *extra]
    return Response(status, headers, body)


def empty(status: int, *headers: tuple[bytes, bytes]) -> Response:
    """An answer without a body."""
    if status == 204:  # RFC 9110 8.6: a 204 carries no Content-Length
        return Response(status, [API_VERSION, *headers])
    return Response(status, [API_VERSION, EMPTY, *headers])


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


Handler = Any
