"""A small registry of one image that does as a test says: stall, break off, lie."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.support.images import Image, digest_of


@dataclass
class Behaviour:
    """What is done with the largest blob, and what was seen."""

    stall_after: int | None = None
    """Bytes of a download (or upload) after which nothing more happens until `go_on` is set."""
    body: bytes | None = None
    """Sent instead of the blob's bytes."""
    length: int | None = None
    """Content-Length told instead of the right one."""
    endless: bool = False
    redirect_to: str | None = None
    manifest: bytes | None = None
    """Sent instead of the image's manifest."""
    go_on: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    ranges: list[str] = field(default_factory=list)
    """Range headers of requests for the largest blob; empty text for none."""
    pushed: dict[str, bytes] = field(default_factory=dict)
    """Blobs and manifests that were pushed, by digest or tag."""


class StubRegistry:
    """Serves `image` as every repository and tag."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.behaviour = Behaviour()
        self.largest = max(image.blobs, key=lambda digest: len(image.blobs[digest]))
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                stub.answer(self, head=False)

            def do_HEAD(self) -> None:
                stub.answer(self, head=True)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                stub.send(self, 202, b"", {"Location": f"{urlsplit(self.path).path}session"})

            def do_PUT(self) -> None:
                stub.take(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"localhost:{self._server.server_address[1]}"

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        self.behaviour.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def send(
        self, to: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        to.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            to.send_header(name, value)
        to.end_headers()
        if to.command != "HEAD":
            to.wfile.write(body)

    def answer(self, to: BaseHTTPRequestHandler, *, head: bool) -> None:
        path = urlsplit(to.path).path
        name = path.rpartition("/")[2]
        if path == "/v2/":
            self.send(to, 200, b"{}")
        elif "/manifests/" in path:
            self._send_manifest(to, name)
        elif name not in self.image.blobs or (head and name not in self.behaviour.pushed):
            self.send(to, 404, b"")
        elif name == self.largest and not head:
            self._send_largest(to)
        else:
            self.send(to, 200, self.image.blobs[name])

    def _send_manifest(self, to: BaseHTTPRequestHandler, name: str) -> None:
        if to.command == "HEAD" and name not in self.behaviour.pushed:
            self.send(to, 404, b"")
            return
        raw = self.behaviour.manifest or self.image.manifest
        self.send(
            to, 200, raw, {"Content-Type": self.image.media_type, "Docker-Content-Digest": digest_of(raw)}
        )

    def _send_largest(self, to: BaseHTTPRequestHandler) -> None:
        does, asked = self.behaviour, to.headers.get("Range") or ""
        does.ranges.append(asked)
        if does.redirect_to is not None:
            self.send(to, 302, b"", {"Location": does.redirect_to})
            return
        whole = does.body if does.body is not None else self.image.blobs[self.largest]
        start = int(asked.removeprefix("bytes=").rstrip("-").split("-")[0]) if asked else 0
        body = whole[start:]
        to.send_response(206 if asked else 200)
        if asked:
            to.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        if not does.endless:
            to.send_header("Content-Length", str(does.length if does.length is not None else len(body)))
        else:
            to.close_connection = True
        to.end_headers()
        try:
            self._write(to, body)
        except OSError:
            to.close_connection = True

    def _write(self, to: BaseHTTPRequestHandler, body: bytes) -> None:
        does = self.behaviour
        if does.stall_after is not None and not does.go_on.is_set():
            to.wfile.write(body[: does.stall_after])
            to.wfile.flush()
            does.stalled.set()
            does.go_on.wait(120)
            body = body[does.stall_after :]
        to.wfile.write(body)
        while does.endless and not does.go_on.is_set():
            to.wfile.write(bytes(1 << 16))
        if does.length is not None:
            to.close_connection = True

    def take(self, to: BaseHTTPRequestHandler) -> None:
        """A blob or a manifest is pushed."""
        does, size = self.behaviour, int(to.headers.get("Content-Length") or 0)
        first = min(size, does.stall_after or size)
        data = to.rfile.read(first)
        if first < size and not does.go_on.is_set():
            does.stalled.set()
            does.go_on.wait(120)
        data += to.rfile.read(size - first)
        if len(data) < size:  # whoever pushed it is gone
            to.close_connection = True
            return
        split = urlsplit(to.path)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        key = (
            split.path.rpartition("/")[2]
            if "/manifests/" in split.path
            else parse_qs(split.query)["digest"][0]
        )
        does.pushed[key] = data
        self.send(to, 201, b"", {"Docker-Content-Digest": digest, "Location": "/v2/x"})


@contextmanager
def stub_registry(image: Image) -> Iterator[StubRegistry]:
    """A stub on a free port, gone when the block ends."""
    stub = StubRegistry(image)
    thread = threading.Thread(target=stub.serve, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.close()
        thread.join(30)


def manifest_with(image: Image, **changes: object) -> bytes:
    """The image's manifest with its last layer's descriptor changed."""
    document = json.loads(image.manifest)
    document["layers"][-1].update(changes)
    return json.dumps(document).encode()
