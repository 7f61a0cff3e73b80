"""One HTTP request as the handlers see it: raw path, headers by name, the body as a stream with limits.

The path is kept as it came over the wire: names and digests are matched before anything is decoded, so that
an encoded slash or dot is never more than a character no grammar allows.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.access.decision.model import ANONYMOUS, Principal
from entrepot.wording import human_size

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = dict[bytes, bytes]

MAX_QUERY_FIELDS: Final = 64
_LENGTH = re.compile(rb"[0-9]{1,18}")


class ClientGone(EntrepotError):
    """The client closed the connection before its request was complete. Nobody is left to tell."""

    code: ClassVar[str] = "client-gone"


class QueryTooLong(InvalidInput):
    """More parameters than are read."""

    code: ClassVar[str] = "query-too-long"


class BodyTooLarge(InvalidInput):
    """More bytes than the limit; reading stopped there."""

    code: ClassVar[str] = "body-too-large"

    def __init__(self, limit: int, what: str) -> None:
        super().__init__(
            f"{what} is larger than {human_size(limit)}, the most this registry takes",
            hint="make it smaller, or have the limit raised",
        )
        self.limit = limit


class BodyLengthWrong(InvalidInput):
    """Content-Length is not a number, or the body had another length."""

    code: ClassVar[str] = "body-length-wrong"


class HttpRequest:
    """A request. `principal` is set once it has been authenticated."""

    __slots__ = (
        "_query",
        "address",
        "body_done",
        "headers",
        "host",
        "id",
        "method",
        "path",
        "principal",
        "query_string",
        "receive",
        "received",
        "route",
        "scheme",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        path: str,
        *,
        headers: Headers,
        receive: Receive,
        query_string: bytes = b"",
        address: str = "",
        scheme: str = "http",
        host: str = "",
        id: str = "",  # noqa: A002 - the word the log and the header use
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.receive = receive
        self.query_string = query_string
        self.address = address
        self.scheme = scheme
        self.host = host
        self.id = id
        self.principal: Principal = ANONYMOUS
        self.route = ""
        self.received = 0
        self.body_done = False
        self._query: list[tuple[str, str]] | None = None

    @property
    def query(self) -> list[tuple[str, str]]:
        """Decoded pairs in their order. Raises QueryTooLong, InvalidInput."""
        if self._query is None:
            if not self.query_string:
                self._query = []
            elif self.query_string.count(b"&") >= MAX_QUERY_FIELDS:
                raise QueryTooLong(
                    f"the query has more than {MAX_QUERY_FIELDS} parameters; "
                    "give fewer (tags can be pushed in several requests)"
                )
            else:
                try:
                    text = self.query_string.decode("ascii")
                except UnicodeDecodeError as error:
                    raise InvalidInput("the query has bytes outside of ASCII; percent-encode them") from error
                self._query = parse_qsl(text, keep_blank_values=True)
        return self._query

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter."""
        for key, value in self.query:
            if key == name:
                return value
        return None

    def parameters(self, name: str) -> list[str]:
        return [value for key, value in self.query if key == name]

    def header(self, name: bytes) -> str | None:
        """A header's value, as Latin-1; `name` in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1").strip()

    @property
    def base_url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def content_length(self) -> int | None:
        """Bytes announced, None when the body is chunked. Raises BodyLengthWrong."""
        raw = self.headers.get(b"content-length")
        if raw is None:
            return None
        if not _LENGTH.fullmatch(raw):
            raise BodyLengthWrong(f"Content-Length {raw[:40].decode('latin-1')!r} is not a number of bytes")
        return int(raw)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises ClientGone when it ends early."""
        receive = self.receive
        expected = self.content_length()
        got = 0
        while not self.body_done:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientGone(f"the client left after {got} bytes of its body")
            body: bytes = message.get("body", b"")
            got += len(body)
            # Behind what was announced nothing can follow, and to be told so takes a way to the HTTP server.
            self.body_done = got == expected or not message.get("more_body", False)
            if body:
                self.received += len(body)
                yield body
        if expected is not None and got != expected:
            raise ClientGone(f"the client left after {got} of {expected} bytes of its body")

    async def body(self, *, limit: int, what: str) -> bytes:
        """The whole body. Raises BodyTooLarge without reading what is over `limit`."""
        announced = self.content_length()
        if announced is not None and announced > limit:
            raise BodyTooLarge(limit, what)
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(limit, what)
            parts.append(chunk)
        return b"".join(parts)
