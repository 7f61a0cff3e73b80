"""kill -9 of the process that fetches a blob from an upstream, and of all of them."""

import hashlib
import http.client
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.lying_registry import LyingRegistry, Reply, Request, lying_registry
from tests.support.processes import wait_until
from tests.support.server import RunningServer, running_server

MIB = 1024 * 1024
DATA = os.urandom(8 * MIB)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
PATH = f"/v2/far/team/app/blobs/{DIGEST}"


@dataclass
class Street:
    """A registry, and another one that stops in the middle of the first blob it is asked for."""

    near: RunningServer
    far: LyingRegistry
    go_on: threading.Event = field(default_factory=threading.Event)

    def holder(self) -> int:
        """The process that fetches; 0 while there is none."""
        with closing(sqlite3.connect(f"file:{self.near.data}/catalog.db?mode=ro", uri=True)) as catalog:
            rows = catalog.execute(
                "select holder, phys from upstream_fetch where size is not null"
            ).fetchall()
        return int(rows[0][0].split("/")[2]) if rows else 0

    def get(self) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.near.port, timeout=150)
        connection.request("GET", PATH, headers={"Host": self.near.host})
        return connection.getresponse()

    def ranges(self) -> list[str | None]:
        return [each.headers.get("range") for each in self.far.asked("GET", DIGEST)]


@contextmanager
def opened_street(folder: Path) -> Iterator[Street]:
    begun, go_on = threading.Event(), threading.Event()

    def half(request: Request) -> Iterator[bytes]:
        yield DATA[: 5 * MIB]
        go_on.wait(150)

    def answer(request: Request) -> Reply:
        if request.path == "/v2/":
            return Reply()
        if "/blobs/" not in request.path:
            return Reply(404)
        if not begun.is_set() and request.method == "GET":
            begun.set()
            return Reply(200, {"Content-Length": str(len(DATA))}, half(request))
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        about = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
        return Reply(206 if start else 200, about, DATA[start:])

    with lying_registry(answer) as far, running_server(folder, start=False) as near:
        near.start()
        near.admin("upstream", "add", "far", far.url, "--inside")
        yield Street(near, far, go_on)
        go_on.set()


def read_all(response: http.client.HTTPResponse, into: list[bytes]) -> None:
    try:
        while piece := response.read(256 * 1024):
            into.append(piece)
    except (http.client.HTTPException, OSError):
        into.append(b"")


@pytest.mark.parametrize("whom", ["the process that fetches", "all of them"])
def test_what_has_landed_is_gone_on_with(tmp_path: Path, whom: str) -> None:
    with opened_street(tmp_path) as street:
        clients = [street.get() for _ in range(6)]
        firsts = [response.read(2 * MIB) for response in clients]
        assert firsts == [DATA[: 2 * MIB]] * 6
        wait_until(street.holder, what="the fetch's row")
        if whom == "all of them":
            street.near.kill()
            street.near.start()
        else:
            os.kill(street.holder(), signal.SIGKILL)
        rests: list[list[bytes]] = [[] for _ in clients]
        for response, rest in zip(clients, rests, strict=True):
            read_all(response, rest)
        got = [first + b"".join(rest) for first, rest in zip(firsts, rests, strict=True)]
        assert all(DATA.startswith(each) for each in got)
        assert street.get().read() == DATA
        asked = street.ranges()
        assert asked[0] is None
        assert len(asked) == 2
        assert asked[1] is not None
        assert int(asked[1].removeprefix("bytes=").rstrip("-")) >= MIB
