"""HTTP to a docker daemon: over its unix socket or TCP, errors in the daemon's own words."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.response import BaseHTTPResponse

from entrepot.daemon.address import DaemonAddress
from entrepot.daemon.errors import DaemonRefused, DaemonUnreachable, NotInDaemon

CONNECT_TIMEOUT_S: Final = 10
READ_TIMEOUT_S: Final = 600  # a daemon may pack a large image before its first byte comes
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
_MAX_LINE_BYTES: Final = 1024 * 1024


class DaemonClient:
    """Requests to one daemon. Thread safe. Close it when done."""

    def __init__(self, address: DaemonAddress) -> None:
        self.address = address
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
        if address.socket is not None:
            self._pool: HTTPConnectionPool = _UnixPool(address.socket, timeout)
        else:
            self._pool = HTTPConnectionPool(address.host, address.port, timeout=timeout)

    def get_json(self, path: str) -> Any:
        """Raises NotInDaemon, DaemonRefused, DaemonUnreachable."""
        with self.open("GET", path) as response:
            body = response.read(MAX_ANSWER_BYTES + 1)
        if len(body) > MAX_ANSWER_BYTES:
            raise DaemonRefused(f"{self.address} answered with more than {MAX_ANSWER_BYTES} bytes")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise DaemonUnreachable(f"{self.address} does not answer as a docker daemon does") from error

    def open(
        self,
        method: str,
        path: str,
        *,
        body: Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> BaseHTTPResponse:
        """An answer that is no error, to be read and closed by the caller. Raises DaemonUnreachable."""
        try:
            response = self._pool.request(
                method,
                path,
                body=body,
                headers=dict(headers or {}),
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise DaemonUnreachable(
                f"no docker daemon answers at {self.address}: {_reason(error)}",
                hint="is it running, and may this user use its socket? DOCKER_HOST names another one",
            ) from error
        if response.status < 400:
            return response
        with response:
            message = _message(response.read(_MAX_LINE_BYTES)) or f"status {response.status}"
        kind = NotInDaemon if response.status == 404 else DaemonRefused
        raise kind(f"docker daemon: {message}")

    def close(self) -> None:
        self._pool.close()


def read_progress(response: BaseHTTPResponse) -> Iterator[dict[str, Any]]:
    """The objects of a progress stream as they come. Raises DaemonRefused for an error among them."""
    pending = b""
    for chunk in response.stream(65536):
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > _MAX_LINE_BYTES:
            raise DaemonRefused("the docker daemon's progress has a line that does not end")
        yield from _events(lines)
    yield from _events([pending])


def _events(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue  # text nobody promised to be anything
        if not isinstance(event, dict):
            continue
        if event.get("error"):
            raise DaemonRefused(f"docker daemon: {event['error']}")
        yield event


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, **options: Any) -> None:
        super().__init__("localhost", **options)
        self._path = path

    def _new_conn(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_TIMEOUT_S)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        return sock


class _UnixPool(HTTPConnectionPool):
    def __init__(self, path: str, timeout: urllib3.Timeout) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def _new_conn(self) -> _UnixConnection:
        return _UnixConnection(self._path, timeout=self.timeout.connect_timeout)


def _message(body: bytes) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body[:300].decode("utf-8", "replace").strip()
    message = document.get("message") if isinstance(document, dict) else None
    return str(message) if message else ""


def _reason(error: BaseException) -> str:
    cause = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    strerror = getattr(cause, "strerror", None)
    return str(strerror or cause)
