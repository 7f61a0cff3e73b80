"""A registry that does what a test scripts: every answer is a function of the request, on a raw socket.

    with lying_registry(lambda request: Reply(404)) as registry:
        … registry.host, registry.requests …

It is threaded, speaks HTTP/1.1 without keep-alive unless a reply has a body of known length, and can also
cut connections in the middle, send endless bodies, and lie about lengths.
"""

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from entrepot.client.retry import RetryPolicy
from entrepot.client.settings import ClientSettings


@dataclass(frozen=True)
class Request:
    """What came in; header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(frozen=True)
class Reply:
    """What goes out. A `body` of bytes gets a Content-Length unless `headers` has one; an iterable none."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""
    cut: bool = False
    """Close the connection after the body, whatever was promised."""


Script = Callable[[Request], Reply | None]
"""None closes the connection without an answer."""


class LyingRegistry:
    """The server's side: what was asked so far, in order of arrival."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._context = context
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._stopped = False
        self._open: set[socket.socket] = set()
        self.requests: list[Request] = []
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://{self.host}"

    def asked(self, method: str, part: str = "") -> list[Request]:
        """Requests with that method whose target contains `part`."""
        with self._lock:
            return [one for one in self.requests if one.method == method and part in one.target]

    def stop(self) -> None:
        self._stopped = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)

    def _accept(self) -> None:
        while not self._stopped:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        plain = connection
        try:
            with contextlib.suppress(OSError, ssl.SSLError):
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
                reader = connection.makefile("rb")
                while self._answer_one(connection, reader):
                    pass
        finally:
            with self._lock:
                self._open.discard(plain)
            with contextlib.suppress(OSError):
                connection.close()

    def _answer_one(self, connection: socket.socket, reader) -> bool:  # type: ignore[no-untyped-def]
        request = _read_request(reader)
        if request is None:
            return False
        with self._lock:
            self.requests.append(request)
        reply = self._script(request)
        if reply is None:
            return False
        headers = {name.lower(): value for name, value in reply.headers.items()}
        known = isinstance(reply.body, bytes)
        if known and "content-length" not in headers and "transfer-encoding" not in headers:
            headers["content-length"] = str(len(reply.body))
        keep = known and not reply.cut
        if not keep:
            headers["connection"] = "close"
        head = f"HTTP/1.1 {reply.status} Scripted\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(head.encode("latin-1") + b"\r\n")
        if request.method == "HEAD":
            return keep
        for piece in [reply.body] if known else reply.body:
            connection.sendall(piece)
        return keep


def _read_request(reader) -> Request | None:  # type: ignore[no-untyped-def]
    if reader.peek(1)[:1] == b"\x16":
        return None  # a TLS greeting: this is plain HTTP
    line = reader.readline(65536)
    if not line.strip():
        return None
    try:
        method, target, _ = line.decode("latin-1").split(" ", 2)
    except ValueError:
        return None
    headers: dict[str, str] = {}
    while (raw := reader.readline(65536)) not in {b"\r\n", b"\n", b""}:
        name, _, value = raw.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    body = reader.read(length) if length else b""
    return Request(method, target, headers, body)


@contextlib.contextmanager
def lying_registry(script: Script, *, context: ssl.SSLContext | None = None) -> Iterator[LyingRegistry]:
    """A registry at `registry.host` that answers as `script` says, until the block ends.

    `context` makes it speak TLS.
    """
    registry = LyingRegistry(script, context)
    try:
        yield registry
    finally:
        registry.stop()


def quick_settings(home: Path, **changes: str) -> ClientSettings:
    """Settings of a user whose home is `home`, with pauses too short to notice. `changes` are variables."""
    import msgspec

    env = {"HOME": str(home), "PATH": str(home / "bin"), "CONTAINERS_REGISTRIES_CONF": str(home / "none")}
    settings = ClientSettings.load({**env, **changes})
    return msgspec.structs.replace(
        settings, retry=RetryPolicy(base_s=0.001, max_delay_s=0.01), certificate_directories=()
    )


def server_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A TLS context of a server called localhost, and the file with the certificate that vouches for it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "server.crt", folder / "server.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context, pem
