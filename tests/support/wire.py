"""A small HTTP client that hides nothing: what was sent, what came back."""

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any, Final

LONG_IDLE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names are lower case, the last of repeated ones wins."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error code of a registry's error body."""
        return str(self.json()["errors"][0]["code"])


class Wire:
    """One connection to `host:port`, reopened when it was closed or stood idle for long.

    Registries close idle connections; one that is closed while a request is on its way can't be told from one
    that broke.
    """

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        headers: dict[str, str] | None = None,
        patience_s: float = 120,
    ) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=patience_s)
        self._headers = headers or {}
        self._last = time.monotonic()

    def __call__(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
        chunked: bool = False,
    ) -> Answer:
        """Send a request and read the whole answer; `chunked` sends `body` (an iterable) in chunks."""
        sent = {**self._headers, **(headers or {})}
        if time.monotonic() - self._last > LONG_IDLE_S:
            self._connection.close()
        self._connection.request(method, path, body=body, headers=sent, encode_chunked=chunked)
        answer = self._connection.getresponse()
        content = answer.read()
        self._last = time.monotonic()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)

    def close(self) -> None:
        self._connection.close()
