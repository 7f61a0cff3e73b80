"""A registry of COUNT blobs behind a line of MIB_S: `python -m bench.capped_upstream PORT MIB_S COUNT MIB`.

It prints `digest size` for each blob and then `ready`; `GET /sent/DIGEST` says how many bytes of it went out.
"""

import hashlib
import itertools
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MIB = 1 << 20
PIECE = 64 * 1024


class Line:
    """All connections together send so many bytes a second."""

    def __init__(self, bytes_per_s: float) -> None:
        self._rate = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def pass_on(self, size: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 0.01) + size / self._rate
            wait = self._free_at - now
        if wait > 0:
            time.sleep(wait)


def main() -> None:
    port, rate, count, mib = (int(text) for text in sys.argv[1:])
    line, block = Line(rate * _MIB), os.urandom(_MIB)
    heads: dict[str, bytes] = {}
    sent: dict[str, int] = {}
    for number in range(count):
        head = number.to_bytes(8, "big") + block[8:]
        hasher = hashlib.sha256(head)
        for _ in range(mib - 1):
            hasher.update(block)
        digest = f"sha256:{hasher.hexdigest()}"
        heads[digest], sent[digest] = head, 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            digest = self.path.rpartition("/")[2]
            if self.path.startswith("/sent/"):
                self._say(200, str(sent[digest]).encode())
            elif digest not in heads:
                self._say(200 if self.path == "/v2/" else 404, b"{}")
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(mib * _MIB))
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Docker-Content-Digest", digest)
                self.end_headers()
                if self.command == "GET":
                    self._send(digest)

        def _send(self, digest: str) -> None:
            for part in itertools.chain([heads[digest]], itertools.repeat(block, mib - 1)):
                for start in range(0, _MIB, PIECE):
                    line.pass_on(PIECE)
                    self.wfile.write(part[start : start + PIECE])
                    sent[digest] += PIECE

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128
        address_family = socket.AF_INET

        def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
            return  # who asked has left

    server = Server(("127.0.0.1", port), Handler)
    for digest in heads:
        print(digest, mib * _MIB, flush=True)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
