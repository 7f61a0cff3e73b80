"""Clients that make load: wrk for reads, threads on plain sockets for pushes."""

import http.client
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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


class Pusher:
    """Pushes over one connection of plain HTTP/1.1, as a client library does."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        self._http.request(method, path, body=body, headers={"Host": "localhost", **(headers or {})})
        answer = self._http.getresponse()
        answer.read()
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
