"""H1–H4, H8, U1, U2: what strangers send instead of HTTP, too slowly, or not to its end."""

import os
import socket
from pathlib import Path

import pytest

from tests.support.distribution import WireRepository, digest
from tests.support.processes import wait_until
from tests.support.raw import Connect, is_closed, read_answer
from tests.support.server import RunningServer
from tests.support.wire import Answer, Wire

GET = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n"
PUT = b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\n"
BIG = bytes(8 * 1024 * 1024)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("te-te", PUT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        ("xchunked", PUT + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("two-lengths", PUT + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        ("plus-length", PUT + b"Content-Length: +4\r\n\r\nhell"),
        ("negative-length", PUT + b"Content-Length: -1\r\n\r\n"),
        ("space-colon", PUT + b"Content-Length : 4\r\n\r\nhell"),
        ("length-2-63", PUT + b"Content-Length: 9223372036854775808\r\n\r\nhell"),
        ("length-2-64", PUT + b"Content-Length: 18446744073709551616\r\n\r\nhell"),
        ("folded", GET + b"X: a\r\n b\r\n\r\n"),
        ("bare-cr", GET + b"X: a\rb\r\n\r\n"),
        ("nul", b"GET /v2/\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("two-hosts", b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
        ("chunk-0x", PUT + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
        ("chunk-plus", PUT + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
        ("chunk-overflow", PUT + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n"),
        ("chunk-no-end", PUT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"),
        ("tls-on-plain", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ambiguous_requests_are_refused(connect: Connect, name: str, sent: bytes) -> None:
    """H4: 400, and the bytes behind it are nobody's request."""
    connection = connect(sent)
    assert read_answer(connection).status == 400, name
    assert name == "two-hosts" or is_closed(connection)


NAMELESS = b"GET /v2/ HTTP/1.1\r\n%b\r\n"


@pytest.mark.parametrize(
    "host",
    [b"", b"Host:\r\n", b'Host: a"b\r\n', b"Host: a/b\r\n", b"Host: a@b\r\n", b"Host: %b\r\n" % (b"a" * 300)],
    ids=["missing", "empty", "quote", "slash", "user", "long"],
)
def test_a_request_names_the_host_it_is_for(connect: Connect, host: bytes) -> None:
    """H4: RFC 9112 3.2; and what is no name gets into no answer."""
    answer = read_answer(connect(NAMELESS % host))
    assert (answer.status, answer.code) == (400, "UNSUPPORTED")
    assert b"Host" in answer.body


def test_http_1_0_knows_no_host_header(connect: Connect) -> None:
    """RFC 9112 3.2: only open mode's rule about names misses it, a registry with accounts does not."""
    assert read_answer(connect(b"GET /healthz HTTP/1.0\r\n\r\n")).status == 421


@pytest.mark.parametrize(
    "sent",
    [
        GET.replace(b"\r\n", b"\n") + b"\n",
        GET + b"X: a\nContent-Length: 4\r\n\r\nGET ",
        GET + b"Transfer-Encoding: chunked\nX: y\r\n\r\n0\r\n\r\n",
    ],
    ids=["every-line", "a-length-behind-it", "chunks-behind-it"],
)
def test_a_bare_line_feed_ends_a_line(connect: Connect, sent: bytes) -> None:
    """H4: RFC 9112 2.2 allows that, and the HTTP server below us keeps to it for every line alike: what
    stands behind the line feed is a header of this request and frames this request's body."""
    connection = connect(sent)
    assert read_answer(connection).status == 200
    connection.sendall(GET + b"\r\n")
    assert read_answer(connection).status == 200, "nothing was left over"


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5;a=b\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\n\r\n",
    ],
    ids=["size", "data", "extension", "last"],
)
def test_chunks_take_no_bare_line_feed(connect: Connect, body: bytes) -> None:
    """H4: RFC 9112 7.1; here two readers of one body could disagree about where it ends."""
    connection = connect(PUT + b"Transfer-Encoding: chunked\r\n\r\n" + body + GET + b"\r\n")
    assert read_answer(connection).status == 400
    assert is_closed(connection)


def test_a_length_beside_chunks_smuggles_nothing(connect: Connect) -> None:
    """H4: the chunks count, and the connection is closed, so that what follows is no second request."""
    connection = connect(
        PUT + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET + b"\r\n"
    )
    assert read_answer(connection).status == 400
    assert is_closed(connection)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"".join(b"X-%d: y\r\n" % n for n in range(50)), 200),
        (b"".join(b"X-%d: y\r\n" % n for n in range(200)), 431),
        (b"X: " + b"a" * 15_000 + b"\r\n", 200),
        (b"X: " + b"a" * 20_000 + b"\r\n", 431),
        (b"X: " + b"a" * (1 << 20) + b"\r\n", 431),
    ],
    ids=["50", "200", "15-kB", "20-kB", "1-MiB"],
)
def test_heads_have_a_largest_size(connect: Connect, headers: bytes, status: int) -> None:
    """H8: 431."""
    connection = connect()
    try:
        connection.sendall(GET + headers + b"\r\n")
    except OSError:
        assert status == 431
    else:
        # What is still unread when the server closes resets the connection, and may take the answer along.
        assert read_answer(connection).status in ({status, 0} if len(headers) > 500_000 else {status})


def test_addresses_have_a_largest_size(connect: Connect) -> None:
    """H8: 414 in JSON."""
    answer = read_answer(connect(b"GET /v2/" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    assert (answer.status, answer.code) == (414, "UNSUPPORTED")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_who_is_refused_while_sending_learns_why(connect: Connect, chunked: bool) -> None:
    """H3: what a refused client still sends is read on, so that it finds the answer and no reset."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(BIG)
    connection = connect(
        b"PATCH /v2/a/blobs/uploads/none HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % framing
    )
    answer = read_answer(connection)
    assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")
    connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BIG), BIG) if chunked else BIG)
    connection.sendall(GET + b"\r\n")
    assert read_answer(connection).status == 200, "all of it was read, so the connection goes on"


def test_a_million_tiny_chunks_are_taken(connect: Connect) -> None:
    """H8: work is linear in what is sent; the answer is about the content."""
    body = b"1\r\n \r\n" * 100_000 + b"0\r\n\r\n"
    answer = read_answer(connect(PUT + b"Transfer-Encoding: chunked\r\n\r\n" + body))
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_a_silent_connection_is_closed(connect: Connect) -> None:
    """H1: the header deadline."""
    assert is_closed(connect())


def test_an_idle_connection_is_closed(connect: Connect) -> None:
    """H1: also between two requests."""
    connection = connect(GET + b"\r\n")
    assert read_answer(connection).status == 200
    assert is_closed(connection)


def test_a_trickled_head_is_closed(connect: Connect) -> None:
    """H1: a byte now and then does not extend the deadline."""
    connection = connect(GET)
    connection.settimeout(0.2)
    for _ in range(300):
        try:
            connection.sendall(b"X")
            if connection.recv(100) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        pytest.fail("the server waited for a minute")


def test_a_slow_body_is_cut(connect: Connect) -> None:
    """H2: less than the minimum rate over the window is 408."""
    connection = connect(PUT + b"Content-Length: 100000\r\n\r\nslow")
    answer = read_answer(connection)
    assert (answer.status, answer.code) == (408, "MANIFEST_INVALID")


def test_a_slow_reader_is_cut(strict_server: RunningServer, connect: Connect) -> None:
    """H2: a download that is not taken ends, and so does its connection."""
    wire = Wire(strict_server.port)
    blob = WireRepository(wire, "slow/reader").push(BIG)
    wire.close()
    connection = connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(b"GET /v2/slow/reader/blobs/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % blob.encode())
    assert connection.recv(1) == b"H"
    log = strict_server.log
    wait_until(lambda: f'blobs/{blob}","status":499' in log.read_text(), what="the download to be cut")
    received = 1
    try:
        while more := connection.recv(65536):
            received += len(more)
    except OSError:
        pass
    assert received < len(BIG)


def test_vanished_clients_leave_nothing(strict_server: RunningServer, connect: Connect) -> None:
    """H3: descriptors of clients that went away in the middle of a download are given back."""
    wire = Wire(strict_server.port)
    blob = WireRepository(wire, "vanished/clients").push(BIG)
    wire.close()
    before = _descriptors(strict_server)
    for _ in range(50):
        connection = connect(
            b"GET /v2/vanished/clients/blobs/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % blob.encode()
        )
        assert connection.recv(1) == b"H"
        connection.close()
    wait_until(lambda: _descriptors(strict_server) <= before + 5, what="descriptors to be given back")


def _descriptors(server: RunningServer) -> int:
    assert server.process is not None
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in children)


@pytest.mark.parametrize("how", ["fin", "reset", "half-close"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_cut_upload_goes_on_where_it_ended(
    strict_server: RunningServer, connect: Connect, how: str, chunked: bool
) -> None:
    """U1: GET tells the truth about what was kept, and the rest completes the blob."""
    wire = Wire(strict_server.port)
    repository = WireRepository(wire, f"cut/{how}")
    location, data = repository.begin(), bytes(range(256)) * 1024
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(data)
    part = data[: len(data) // 2]
    connection = connect(
        b"PATCH %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % (location.encode(), framing)
        + (b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
    )
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    if how == "half-close":
        connection.shutdown(socket.SHUT_WR)
        read_answer(connection)
    connection.close()

    done: list[Answer] = []

    def completed() -> bool:
        # The cut request may still hold the upload, or be about to take it.
        held = _offset(repository, location)
        assert 0 <= held <= len(part)
        rest = {"Content-Range": f"{held}-{len(data) - 1}"}
        done.append(repository("PUT", f"{location}?digest={digest(data)}", body=data[held:], headers=rest))
        return done[-1].status not in {409, 416}

    wait_until(completed, what="the cut request to let go")
    assert done[-1].status == 201, done[-1]
    assert repository("GET", f"blobs/{digest(data)}").body == data
    wire.close()


def _offset(repository: WireRepository, location: str) -> int:
    last = int(repository("GET", location).headers["range"].removeprefix("0-"))
    return last + 1 if last else 0


def test_a_body_shorter_than_announced_is_told(connect: Connect) -> None:
    """U2: whoever only closed its sending side still reads why."""
    connection = connect(PUT + b"Content-Length: 50\r\n\r\nhello")
    connection.shutdown(socket.SHUT_WR)
    assert read_answer(connection).status == 400
    assert is_closed(connection)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_blob_above_the_limit_is_cut_off(
    strict_server: RunningServer, connect: Connect, chunked: bool
) -> None:
    """U9: reading stops at the limit, 413, and the upload is gone."""
    wire = Wire(strict_server.port)
    repository = WireRepository(wire, "too/large")
    location = repository.begin()
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 40000000"
    connection = connect(b"PATCH %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % (location.encode(), framing))
    piece = bytes(1 << 20)
    try:
        for _ in range(40):
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    except OSError:
        pass  # the answer came before the body had been sent
    assert read_answer(connection).status in (413, 0)
    wait_until(lambda: repository("GET", location).status == 404, what="the upload to be gone")
    wire.close()
