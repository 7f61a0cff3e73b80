"""Stopping with transfers in flight, a disk that hangs, a limit crossed in mid-stream (C8, D3, U9)."""

import contextlib
import random
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.journal import Journal, Pusher, digest_of, expect, with_digest
from tests.faults.tracing import traced, workers
from tests.support.processes import wait_until
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(600)

MIB = 1024 * 1024
TRANSFERS = 6


class HeldUpload:
    """A PATCH that has sent its first half and then sends nothing."""

    def __init__(self, server: RunningServer, number: int) -> None:
        self.data = random.Random(number).randbytes(200_000)
        self.half = len(self.data) // 2
        wire = Wire(server.port)
        self.location = expect(wire("POST", "/v2/drain/app/blobs/uploads/"), 202).headers["location"]
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=120)
        head = (
            f"PATCH {self.location} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(self.data)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + self.data[: self.half])

    def close(self) -> None:
        self._socket.close()

    def finish_on(self, server: RunningServer) -> None:
        """Ask how far it came, and send the rest."""
        wire = Wire(server.port)
        status = expect(wire("GET", self.location), 204)
        stored = int(status.headers["range"].partition("-")[2]) + 1
        if stored == 1 and status.headers["range"] == "0-0":
            stored = 0  # nothing, or one byte: sending from the start is right for both
            expect(wire("DELETE", self.location), 204)
            self.location = expect(wire("POST", "/v2/drain/app/blobs/uploads/"), 202).headers["location"]
        assert stored <= self.half
        rest = self.data[stored:]
        expect(
            wire(
                "PATCH", self.location, body=rest, headers={"content-range": f"{stored}-{len(self.data) - 1}"}
            ),
            202,
        )
        expect(wire("PUT", with_digest(self.location, digest_of(self.data))), 201)


class HeldDownload:
    """A GET whose answer has begun and is read on only when the test says so."""

    def __init__(self, server: RunningServer, blob: bytes) -> None:
        self._blob = blob
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=120)
        path = f"/v2/drain/app/blobs/{digest_of(blob)}"
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        self._got = self._socket.recv(4096)

    def rest_is_right(self) -> bool:
        while piece := self._socket.recv(65536):
            self._got += piece
        return self._got.partition(b"\r\n\r\n")[2] == self._blob


def test_stop_with_transfers_in_flight(tmp_path: Path) -> None:
    """C8: `/readyz` says 503, downloads end whole, uploads go on at the next process."""
    env = {"ENTREPOT_SERVER_DRAIN_DELAY": "1s", "ENTREPOT_SERVER_DRAIN_TIMEOUT": "60s"}
    blob = random.Random(8).randbytes(24 * MIB)
    with running_server(tmp_path, workers=2, env=env) as server:
        Pusher(server.port, Journal(), 8, repository="drain/app").push_blob(blob)
        uploads = [HeldUpload(server, number) for number in range(TRANSFERS)]
        downloads = [HeldDownload(server, blob) for _ in range(TRANSFERS)]
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: readiness(server) in {503, None}, what="/readyz to look away")
        assert all(download.rest_is_right() for download in downloads)
        for upload in uploads:
            upload.close()
        assert server.process.wait(120) == 0
        server.start()
        for upload in uploads:
            upload.finish_on(server)
        wire = Wire(server.port)
        for upload in uploads:
            assert wire("GET", f"/v2/drain/app/blobs/{digest_of(upload.data)}").body == upload.data
        assert server.fsck()["findings"] == []


def readiness(server: RunningServer) -> int | None:
    """The status of `/readyz`; None when nobody listens any more."""
    try:
        return Wire(server.port)("GET", "/readyz").status
    except OSError:
        return None


def test_hanging_fsync_holds_up_nobody_else(tmp_path: Path) -> None:
    """D3: while one push waits for the disk, the same process answers everything else."""
    with running_server(tmp_path, workers=1) as server:
        other = Pusher(server.port, Journal(), 3, repository="slow/other")
        other.push_blob(b"there already")
        slow = Pusher(server.port, Journal(), 4, repository="slow/app")
        (worker,) = workers(server)
        delay = "inject=fsync:delay_enter=60000000:when=1"
        with traced(worker, "-e", "trace=fsync", "-e", delay, log=tmp_path / "strace"):
            pushing = threading.Thread(target=slow.push_blob, args=(b"slow",))
            pushing.start()
            wait_until(lambda: waits_for_disk(tmp_path / "strace"), what="the push to hang")
            wire = Wire(server.port)
            assert wire("GET", "/healthz").status == 200
            assert wire("GET", f"/v2/slow/other/blobs/{digest_of(b'there already')}").body == b"there already"
            assert wire("HEAD", f"/v2/slow/app/blobs/{digest_of(b'slow')}").status == 404
            assert pushing.is_alive()
        pushing.join(120)
        assert wire("HEAD", f"/v2/slow/app/blobs/{digest_of(b'slow')}").status == 200


@pytest.mark.parametrize("sent", ["before", "with the end"])
def test_who_has_sent_everything_is_not_too_slow(tmp_path: Path, sent: str) -> None:
    """D3, U10: the end of an upload may take longer than a client may stand still."""
    data = random.Random(5).randbytes(200_000)
    env = {"ENTREPOT_LIMITS_MIN_BODY_WINDOW": "200ms"}
    with running_server(tmp_path, workers=1, env=env) as server:
        wire = Wire(server.port)
        location = expect(wire("POST", "/v2/slow/app/blobs/uploads/"), 202).headers["location"]
        if sent == "before":
            location = expect(wire("PATCH", location, body=data), 202).headers["location"]
        body = data if sent == "with the end" else b""
        (worker,) = workers(server)
        delay = "inject=fsync:delay_enter=1500000:when=1"
        with traced(worker, "-e", "trace=fsync", "-e", delay, log=tmp_path / "strace"):
            expect(wire("PUT", with_digest(location, digest_of(data)), body=body), 201)
        assert wire("GET", f"/v2/slow/app/blobs/{digest_of(data)}").body == data


def waits_for_disk(log: Path) -> bool:
    return log.exists() and "fsync(" in log.read_text()


def test_limit_crossed_in_mid_stream_frees_the_file(tmp_path: Path) -> None:
    """U9: 413 as soon as the limit is passed, chunked or not, and nothing stays on the disk."""
    with running_server(tmp_path, workers=1, env={"ENTREPOT_LIMITS_BLOB_BYTES": "1MiB"}) as server:
        wire = Wire(server.port)
        for chunked in (True, False):
            location = expect(wire("POST", "/v2/big/app/blobs/uploads/"), 202).headers["location"]
            with contextlib.suppress(ConnectionError):  # it may stop reading before all is sent
                body = pieces(4) if chunked else b"x" * (2 * MIB)
                assert wire("PATCH", location, body=body, chunked=chunked).status == 413
            wire.close()
            uploads = server.data / "uploads"
            wait_until(lambda uploads=uploads: not any(uploads.iterdir()), what="the file to be gone")
        blob = b"y" * MIB
        Pusher(server.port, Journal(), 9, repository="big/app").push_blob(blob)
        assert server.fsck()["findings"] == []


def pieces(count: int) -> Iterator[bytes]:
    for _ in range(count * 4):
        yield b"x" * (MIB // 4)
