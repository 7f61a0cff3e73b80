"""Clients that open many connections and say little on them, or very much: nobody else notices."""

import contextlib
import os
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import wait_until
from tests.support.raw import Connect, is_closed, read_answer
from tests.support.server import RunningServer, running_server

REQUESTS, CONNECTIONS = 30, 30
WIDE = 8
"""How many shares loopback has."""
CROWD, SOMEBODY = b"198.51.100.7", b"203.0.113.5"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Trusts what loopback says about who sends; only the deadline under test is short."""
    env = {
        "ENTREPOT_ACCESS_MODE": "accounts",
        "ENTREPOT_SERVER_BEHIND_PROXY": "127.0.0.1",
        "ENTREPOT_LIMITS_BODY_TIMEOUT": "3s",
        "ENTREPOT_LIMITS_HEADER_TIMEOUT": "10min",
        "ENTREPOT_LIMITS_MIN_BODY_WINDOW": "10min",
        "ENTREPOT_LIMITS_REQUESTS_PER_ADDRESS": str(REQUESTS),
        "ENTREPOT_LIMITS_CONNECTIONS_PER_ADDRESS": str(CONNECTIONS),
    }
    with running_server(tmp_path_factory.mktemp("crowds"), env=env, workers=1) as running:
        yield running


@pytest.fixture
def connect(server: RunningServer) -> Iterator[Connect]:
    with contextlib.ExitStack() as stack:

        def open_connection(sent: bytes = b"") -> socket.socket:
            made = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            stack.enter_context(made)
            made.sendall(sent)
            return made

        yield open_connection


def head(method: str, path: str, *, of: bytes, framing: bytes = b"") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ".encode()
        + of
        + b"\r\n"
        + framing
        + b"\r\n"
    )


FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
JSON = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: 100\r\n"


@pytest.mark.parametrize("framing", [LENGTH, b"Transfer-Encoding: chunked\r\n"], ids=["length", "chunked"])
def test_a_body_that_never_begins_is_not_waited_for(connect: Connect, framing: bytes) -> None:
    """Wherever strangers may send one: 408 in words a program reads, and the connection is closed."""
    kinds = {"/token": FORM, "/sign-in": FORM, "/setup": FORM, "/api/v1/session": JSON, "/api/v1/setup": JSON}
    hanging = {
        path: connect(head("POST", path, of=CROWD, framing=kind + framing)) for path, kind in kinds.items()
    }
    for path, connection in hanging.items():
        answer = read_answer(connection)
        assert (answer.status, answer.code) == (408, "UNSUPPORTED"), path
        assert is_closed(connection), path


def test_one_address_keeps_nobody_else_out(connect: Connect) -> None:
    """Hundreds of requests without their bodies: few are waited for, the others are refused at once."""
    hanging = [
        connect(head("POST", "/sign-in", of=CROWD, framing=FORM + LENGTH)) for _ in range(10 * REQUESTS)
    ]
    assert read_answer(connect(head("GET", "/v2/", of=SOMEBODY))).status == 401
    assert read_answer(connect(head("GET", "/sign-in", of=SOMEBODY))).status == 200
    answers = [read_answer(connection) for connection in hanging]
    assert {answer.status for answer in answers} == {408, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.code == "TOOMANYREQUESTS"
    assert b"retry-after: 1" in refused.head.lower()
    assert all(is_closed(connection) for connection in hanging)
    assert read_answer(connect(head("GET", "/v2/", of=CROWD))).status == 401, "and it may come again"


def test_silent_connections_of_one_address_are_closed(connect: Connect) -> None:
    """Long before the deadline for headers; who has a request under way keeps the connection."""
    busy = connect(head("POST", "/token", of=SOMEBODY, framing=FORM + b"Content-Length: 10\r\n") + b"a")
    silent = [connect() for _ in range(CONNECTIONS * WIDE + 100)]
    closed: set[socket.socket] = set()
    with selectors.DefaultSelector() as selector:
        for connection in silent:
            selector.register(connection, selectors.EVENT_READ)

        def enough_are_closed() -> bool:
            for key, _ in selector.select(0):
                if is_closed(key.fileobj):  # type: ignore[arg-type]
                    selector.unregister(key.fileobj)
                    closed.add(key.fileobj)  # type: ignore[arg-type]
            return len(closed) >= 100

        wait_until(enough_are_closed, what="connections to be closed")
    assert len(closed) <= 102, "no more than was too much"
    assert read_answer(connect(head("GET", "/v2/", of=SOMEBODY))).status == 401
    busy.sendall(b"=123456789")
    assert read_answer(busy).status == 400


def test_large_forms_and_many_cookies_stay_in_no_memory(server: RunningServer, connect: Connect) -> None:
    """What strangers send is neither taken beyond its limit nor kept: forms, queries, cookies."""
    before = _resident(server)
    form = b"password=" + b"&".join(b"%x=1" % number for number in range(700_000))
    for _ in range(20):
        framing = FORM + b"Content-Length: %d\r\n" % len(form)
        connection = connect(head("POST", "/sign-in", of=SOMEBODY, framing=framing))
        with contextlib.suppress(OSError):  # it may be closed before everything is sent
            connection.sendall(form)
        assert read_answer(connection).status in {413, 0}
        connection.close()
    for number in range(300):
        cookie = b"Cookie: " + b"; ".join(b"%x%x=1" % (number, each) for each in range(1500)) + b"\r\n"
        query = "&".join(f"{each:x}={number}" for each in range(800))
        connection = connect(head("GET", f"/sign-in?{query}", of=SOMEBODY, framing=cookie))
        assert read_answer(connection).status == 200
        connection.close()
    assert _resident(server) - before < 64 * 1024**2


def _resident(server: RunningServer) -> int:
    """Bytes of memory of all the server's processes."""
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in children)
    return pages * os.sysconf("SC_PAGE_SIZE")
