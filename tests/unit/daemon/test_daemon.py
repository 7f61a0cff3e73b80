"""A docker daemon's answers, good and bad, from a socket that is none of docker's."""

import http.server
import io
import json
import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrepot.archive.reading import open_archive
from entrepot.archive.sink import ArchiveSink
from entrepot.content.memory import MemoryStore
from entrepot.daemon.address import DaemonAddress, InvalidDaemonAddress
from entrepot.daemon.docker import DockerDaemon
from entrepot.daemon.errors import DaemonRefused, DaemonUnreachable, NotInDaemon
from entrepot.daemon.upload import written_chunks
from entrepot.layers.chunks import Writable
from entrepot.oci.reference import Reference
from tests.unit.archive.builders import legacy_members, stored_image, tar


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/run/docker.sock", DaemonAddress(socket="/run/docker.sock")),
        ("unix:///run/docker.sock", DaemonAddress(socket="/run/docker.sock")),
        ("tcp://127.0.0.1:2375", DaemonAddress(host="127.0.0.1", port=2375)),
        ("tcp://host", DaemonAddress(host="host", port=2375)),
    ],
)
def test_addresses_are_dockers(text: str, address: DaemonAddress) -> None:
    assert DaemonAddress.parse(text) == address
    assert DaemonAddress.parse(str(address)) == address
    assert DaemonAddress.from_environment({"DOCKER_HOST": text}) == address


@pytest.mark.parametrize("text", ["", "ssh://host", "unix://", "tcp://", "tcp://host:port", "docker"])
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(InvalidDaemonAddress):
        DaemonAddress.parse(text)


def test_the_usual_socket_is_the_default() -> None:
    assert DaemonAddress.from_environment({}).socket == "/var/run/docker.sock"


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the server's table says, and keeps what it was sent."""

    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Nothing on stderr."""

    def do_GET(self) -> None:
        status, body = self.server.answers.get(self.path, (404, b'{"message":"No such image: x"}'))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        received = b""
        while size := int(self.rfile.readline(), 16):
            received += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.server.received = received  # type: ignore[attr-defined]
        self.do_GET()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    answers: dict[str, tuple[int, bytes]]
    received = b""


@pytest.fixture
def server() -> Iterator[_Server]:
    with tempfile.TemporaryDirectory(prefix="sock") as folder:
        fake = _Server(f"{folder}/s", _Handler)
        fake.answers = {}
        thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        fake.shutdown()
        thread.join()
        fake.server_close()


@pytest.fixture
def daemon(server: _Server) -> Iterator[DockerDaemon]:
    with DockerDaemon(DaemonAddress(socket=str(server.server_address))) as opened:
        yield opened


def put_image(sink: ArchiveSink) -> None:
    store = MemoryStore()
    manifest = stored_image(store)
    for blob in manifest.parse().references()[0]:
        with store.open_blob(blob) as stream:
            sink.put_blob(blob, stream)
    sink.put_manifest(manifest, "1")


def test_images_come_as_an_archive(server: _Server, daemon: DockerDaemon) -> None:
    server.answers["/images/bb:1/json"] = (200, b'{"Id":"sha256:x"}')
    server.answers["/images/get?names=bb%3A1"] = (200, tar(legacy_members()))
    with daemon.save(["bb:1"]) as packed, open_archive(packed) as archive:  # type: ignore[arg-type]
        assert [reference.familiar() for reference in archive.images[0].references] == ["bb:1", "bb:one"]


def test_a_missing_image_is_said_in_the_daemons_words(daemon: DockerDaemon) -> None:
    with pytest.raises(NotInDaemon, match="docker daemon: No such image: x"):
        daemon.save(["x"])


def test_an_image_is_sent_as_an_archive(server: _Server, daemon: DockerDaemon) -> None:
    server.answers["/images/load?quiet=1"] = (200, b'{"status":"x"}\n{"stream":"Loaded image: a:1\\n"}\n')
    said: list[str] = []
    with ArchiveSink(lambda write: said.extend(daemon.load(write)), reference=Reference.parse("a")) as sink:
        put_image(sink)
    assert said == ["Loaded image: a:1"]
    with open_archive(io.BytesIO(server.received)) as archive:
        assert archive.find("a:1")


def test_an_error_in_the_progress_is_an_error(server: _Server, daemon: DockerDaemon) -> None:
    server.answers["/images/load?quiet=1"] = (200, b'{"errorDetail":{},"error":"no space left"}\n')
    sink = ArchiveSink(daemon.load, reference=Reference.parse("a"))
    put_image(sink)
    with pytest.raises(DaemonRefused, match="docker daemon: no space left"):
        sink.finish()
    sink.close()


@pytest.mark.parametrize("body", [b"<html>", b'{"message":"broken"}', b"", b"[" * 5000])
def test_errors_of_any_form_are_reported(server: _Server, daemon: DockerDaemon, body: bytes) -> None:
    server.answers["/images/json"] = (500, body)
    with pytest.raises(DaemonRefused):
        daemon.list_images()
    server.answers["/images/json"] = (200, body)
    if json_is_broken(body):
        with pytest.raises(DaemonUnreachable):
            daemon.list_images()


def json_is_broken(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return True
    return False


def test_nobody_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # taken, but nobody listens
        over_tcp = DaemonAddress(host="127.0.0.1", port=silent.getsockname()[1])
        for address in (DaemonAddress(socket=f"{tmp_path}/none"), over_tcp):
            with DockerDaemon(address) as nobody, pytest.raises(DaemonUnreachable) as caught:
                nobody.ping()
            assert str(address) in caught.value.message
            assert "DOCKER_HOST" in (caught.value.hint or "")


def test_written_chunks_are_what_was_written() -> None:
    def produce(out: Writable) -> None:
        for number in range(5000):
            out.write(b"%06d" % number * 100)

    data = b"".join(written_chunks(produce))
    assert data == b"".join(b"%06d" % number * 100 for number in range(5000))


def test_an_error_while_writing_comes_out_where_it_is_read() -> None:
    def produce(out: Writable) -> None:
        out.write(b"some")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(written_chunks(produce))


def test_a_reader_that_stops_ends_the_writer() -> None:
    def produce(out: Writable) -> None:
        while True:
            out.write(bytes(1 << 20))

    chunks = written_chunks(produce)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert "archive-upload" not in {thread.name for thread in threading.enumerate()}
