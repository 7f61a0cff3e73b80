"""Clients that make load: wrk for reads, threads on plain sockets for pushes."""

import http.client
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.images import Image, digest_of, image
from tests.support.programs import require_program


def wrk(
    folder: Path, url: str, script: str, *, connections: int = 16, seconds: int = 5, threads: int = 1
) -> float:
    """Requests a second that wrk reaches with the Lua `script`; raises on any answer but 2xx or 3xx."""
    lua = folder / "load.lua"
    lua.write_text(script)
    argv = [require_program("wrk"), f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", str(lua), url]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate, said
    return float(rate[1])


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, without its body. `headers` by their names as `Docker-Upload-Uuid`."""

    status: int
    headers: Mapping[str, str]


class Pusher:
    """Pushes over one connection of plain HTTP/1.1.

    It shares the cores with what it measures, so it does no more than it must: `http.client` takes twice the
    time, which would be counted against the quicker of two registries.
    """

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Raises when the server closes the connection before it has answered."""
        if self._http.sock is None:
            self._http.connect()
        sock = self._http.sock
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        length = f"Content-Length: {len(body)}\r\n" if body or method != "GET" else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}{extra}\r\n".encode()
        if len(body) > 65_536:
            sock.sendall(head)
            sock.sendall(body)
        else:
            sock.sendall(head + body)
        answer, close = _read_answer(sock, has_body=method != "HEAD")
        if close:
            self._http.close()
        return answer

    def blob(self, repository: str, data: bytes) -> str:
        begun = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert begun.status == 202, begun.status
        location, digest = begun.headers["Location"], digest_of(data)
        path = location if location.startswith("/") else "/" + location.split("/", 3)[3]
        done = self.request("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", data)
        assert done.status == 201, done.status
        return digest

    def manifest(self, repository: str, tag: str, raw: bytes, media_type: str) -> None:
        done = self.request("PUT", f"/v2/{repository}/manifests/{tag}", raw, {"Content-Type": media_type})
        assert done.status == 201, done.status

    def image(self, repository: str, tag: str, pushed: Image) -> None:
        for data in pushed.blobs.values():
            self.blob(repository, data)
        self.manifest(repository, tag, pushed.manifest, pushed.media_type)

    def close(self) -> None:
        self._http.close()


def _read_answer(sock: socket.socket, *, has_body: bool) -> tuple[Answer, bool]:
    """An answer, read to its end, and whether the connection ends with it."""
    data = sock.recv(65_536)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(sock)
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    headers = {name.title(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    answer = Answer(int(first[9:12]), headers)
    if not has_body or answer.status in (204, 304):
        left = 0
    elif headers.get("Transfer-Encoding") == "chunked":
        while not data.endswith(b"0\r\n\r\n"):
            data += _more(sock)
        left = 0
    else:
        left = int(headers.get("Content-Length", "0")) - (len(data) - end - 4)
    while left > 0:
        left -= len(_more(sock))
    return answer, headers.get("Connection", "").lower() == "close"


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 20)
    if not data:
        raise ConnectionError("the server closed the connection before its answer was complete")
    return data


def small_image(seed: str) -> Image:
    """A config and two layers of 2 KiB that no other seed shares."""
    return image([{f"a-{seed}": os.urandom(2_000)}, {f"b-{seed}": os.urandom(2_000)}])


def rate_of(port: int, work: Callable[[Pusher, int], None], *, clients: int, times: int) -> float:
    """How often a second `work(pusher, n)` is done when `clients` threads share `times` calls."""

    def run(client: int) -> None:
        pusher = Pusher(port)
        for number in range(client, times, clients):
            work(pusher, number)
        pusher.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(run, range(clients)))
    return times / (time.perf_counter() - began)


@contextmanager
def steady_pushes(port: int, repository: str, *, per_second: float) -> Iterator[None]:
    """Push tags of one image at a steady rate in the background until the block ends."""
    over = threading.Event()
    pushed = small_image("steady")
    pusher = Pusher(port)
    pusher.image(repository, "steady", pushed)

    def run() -> None:
        number, due = 0, time.perf_counter()
        while not over.is_set():
            number += 1
            pusher.manifest(repository, f"steady-{number % 500}", pushed.manifest, pushed.media_type)
            due += 1 / per_second
            over.wait(max(0.0, due - time.perf_counter()))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        pusher.close()
