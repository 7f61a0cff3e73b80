"""A file a user named by its web address."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, ClassVar

from entrepot.client.hosts import Trust
from entrepot.client.settings import ClientSettings
from entrepot.client.transport import Answer, ConnectionBroken, Origin, Transport, followed
from entrepot.errors import Unavailable

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class DownloadFailed(Unavailable):
    """The address did not give a file."""

    code: ClassVar[str] = "download-failed"


class _Body(io.RawIOBase):
    """An answer's body as a file. A body that ends before its announced length is an error."""

    def __init__(self, answer: Answer, url: str) -> None:
        self._answer = answer
        self._url = url
        self._left = answer.content_length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # narrower than a Buffer
        try:
            count = self._answer.readinto(memoryview(buffer))
        except ConnectionBroken as error:
            raise DownloadFailed(f"the download of {self._url} broke off: {error}") from error
        if self._left is not None:
            self._left -= count
            if count == 0 and self._left > 0:
                raise DownloadFailed(f"the download of {self._url} broke off {self._left} bytes early")
        return count


@contextmanager
def open_url(url: str, *, settings: ClientSettings) -> Iterator[BinaryIO]:
    """The bytes at `url`, without credentials; proxies as for registries. Never from https to http.

    Raises DownloadFailed.
    """
    transport = Transport(settings, Trust())
    try:
        answer = _get(transport, url)
        with answer, io.BufferedReader(_Body(answer, url), 1 << 20) as body:
            yield body
    finally:
        transport.close()


def _get(transport: Transport, url: str) -> Answer:
    current = url
    for _ in range(MAX_REDIRECTS + 1):
        try:
            answer = transport.send("GET", current, {})
        except ConnectionBroken as error:
            raise DownloadFailed(f"{url} could not be reached: {error}") from error
        place = answer.header("Location")
        if answer.status in _REDIRECTS and place is not None:
            answer.discard()
            following = followed(current, place)
            if Origin.of(current).scheme == "https" and Origin.of(following).scheme != "https":
                raise DownloadFailed(f"{url} leads from https to http; refused")
            current = following
            continue
        if answer.status != 200:
            answer.discard()
            raise DownloadFailed(f"{url} answered {answer.status}")
        answer.require_identity()
        return answer
    raise DownloadFailed(f"{url} redirected more than {MAX_REDIRECTS} times")
