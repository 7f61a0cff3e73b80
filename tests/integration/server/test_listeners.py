"""TLS, several listeners, proxies, open mode's rules, probes, figures, the access log."""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.distribution import WireRepository
from tests.support.ports import free_port
from tests.support.processes import wait_until
from tests.support.programs import require_program
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"ENTREPOT_SERVER_ALLOWED_HOSTS": "registry.test,*.lan"}
    with running_server(tmp_path_factory.mktemp("listeners"), env=env) as running:
        yield running


@pytest.fixture
def wire(server: RunningServer) -> Iterator[Wire]:
    made = Wire(server.port)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:5000", 200),
        ("app.localhost", 200),
        ("127.0.0.1", 200),
        ("127.9.9.9:80", 200),
        ("[::1]:5000", 200),
        ("registry.test", 200),
        ("a.lan", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("lan", 421),
        ("10.0.0.1", 421),
        ("", 400),
    ],
)
@pytest.mark.parametrize("path", ["/v2/", "/readyz"])
def test_open_mode_answers_to_its_own_names(wire: Wire, path: str, host: str, status: int) -> None:
    """Against DNS rebinding: 421 in JSON, with what to do."""
    answer = wire("GET", path, headers={"Host": host})
    assert answer.status == status
    assert status != 421 or "localhost" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Origin": "http://localhost:{port}"}, 202),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "none"}, 202),
    ],
)
def test_other_sites_pages_change_nothing(
    server: RunningServer, wire: Wire, headers: dict[str, str], status: int
) -> None:
    """A page somebody visits must not push to their registry; reading is the Host rule's business."""
    sent = {name: value.format(port=server.port) for name, value in headers.items()}
    sent["Host"] = f"localhost:{server.port}"
    assert wire("POST", "/v2/a/blobs/uploads/", headers=sent).status == status
    assert wire("GET", "/v2/", headers=sent).status == 200


def test_every_answer_has_a_request_id_that_the_log_knows(server: RunningServer, wire: Wire) -> None:
    """One JSON line a request, in batches; secrets in queries and control characters do not get through."""
    sent = {"User-Agent": "evil\tagent\xe9"}
    answer = wire("GET", "/v2/some/tags/list?token=hunter2&n=5", headers=sent)
    request_id = answer.headers["x-request-id"]
    wait_until(lambda: request_id in server.log.read_text(), what="the line in the access log")
    line = next(row for row in server.log.read_text().splitlines() if request_id in row)
    entry = json.loads(line)
    assert line.isascii()
    assert "hunter2" not in line
    assert entry["query"] == "token=***&n=5"
    wanted = {"method": "GET", "path": "/v2/some/tags/list", "status": 404, "address": "127.0.0.1"}
    assert entry | wanted == entry
    assert entry["route"] == "/v2/{name}/tags/list[/]"


def test_requests_of_all_workers_are_counted(server: RunningServer, wire: Wire) -> None:
    """/metrics adds up; a worker's figures arrive within a second or so."""
    for _ in range(8):
        Wire(server.port)("GET", "/v2/counted/manifests/none")
    sample = (
        'entrepot_http_requests_total{method="GET",route="/v2/{name}/manifests/{reference}",status="404"} 8'
    )

    def shown() -> bool:
        answer = wire("GET", "/metrics")
        return sample in answer.body.decode()

    wait_until(shown, what="eight requests in the figures")
    text = wire("GET", "/metrics").body.decode()
    for line in text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2
    assert 'entrepot_http_request_seconds_bucket{route="/v2/{name}/manifests/{reference}",le="+Inf"}' in text


def test_probes_answer(wire: Wire) -> None:
    assert wire("GET", "/healthz").json() == {"status": "ok"}
    assert wire("GET", "/readyz").json() == {"status": "ready"}


def test_nothing_else_is_there(wire: Wire) -> None:
    assert wire("GET", "/nothing/at/all").status == 404


def test_listeners_apart(tmp_path: Path) -> None:
    """/metrics and pages on addresses of their own; the registry's own listener then has neither."""
    metrics, admin, second = free_port(), free_port(), free_port()
    env = {
        "ENTREPOT_METRICS_LISTEN": f"127.0.0.1:{metrics}",
        "ENTREPOT_ADMIN_LISTEN": f"127.0.0.1:{admin}",
    }
    with running_server(tmp_path, "--listen", f"127.0.0.1:{second}", env=env, workers=1) as server:
        assert Wire(server.port)("GET", "/v2/").status == 200
        assert Wire(second)("GET", "/v2/").status == 200
        assert Wire(server.port)("GET", "/metrics").status == 404
        # Prometheus comes under whatever name it knows.
        assert Wire(metrics)("GET", "/metrics", headers={"Host": "node-7"}).status == 200
        assert Wire(metrics)("GET", "/v2/").status == 404
        assert Wire(admin)("GET", "/v2/").status == 404
        assert Wire(admin)("GET", "/healthz").status == 200


def test_a_named_proxy_is_believed(tmp_path: Path) -> None:
    """X-Forwarded headers count from the proxies that were named, from nobody else."""
    forwarded = {
        "X-Forwarded-For": "203.0.113.9, 127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "registry.test",
        "X-Request-Id": "from-the-proxy-1",
    }
    env = {"ENTREPOT_SERVER_ALLOWED_HOSTS": "registry.test"}
    with running_server(tmp_path / "a", "--behind-proxy", "127.0.0.0/8", env=env, workers=1) as server:
        wire = Wire(server.port, headers=forwarded)
        assert wire("GET", "/v2/").headers["x-request-id"] == "from-the-proxy-1"
        own = {"Origin": "https://registry.test"}
        assert wire("POST", "/v2/a/blobs/uploads/", headers=own).status == 202
        wait_until(lambda: '"address":"203.0.113.9"' in server.log.read_text(), what="the client's address")
        for path in ("/v2/", "/", "/nothing/here"):
            assert wire("GET", path).headers["strict-transport-security"] == "max-age=31536000"
            for other in ({"X-Forwarded-Proto": "http"}, {"X-Forwarded-Host": "localhost"}):
                assert "strict-transport-security" not in wire("GET", path, headers=other).headers
    with running_server(tmp_path / "b", workers=1) as server:
        wire = Wire(server.port, headers=forwarded)
        assert wire("GET", "/v2/").headers["x-request-id"] != "from-the-proxy-1"
        wait_until(lambda: '"path":"/v2/"' in server.log.read_text(), what="the access log")
        assert "203.0.113.9" not in server.log.read_text()


def _https(port: int, path: str, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_self_signed_certificate_is_explained_and_trusted(tmp_path: Path) -> None:
    """--tls-self-signed: kept over restarts, and curl trusts the file the start names."""
    with running_server(tmp_path, "--tls-self-signed", scheme="https", workers=1) as server:
        cert = server.data / "tls" / "cert.pem"
        wait_until(lambda: "curl --cacert" in server.log.read_text(), what="the start to be told")
        said = server.log.read_text()
        assert f"curl     curl --cacert {cert}" in said
        assert "/etc/docker/certs.d/" in said
        trusting = ssl.create_default_context(cafile=str(cert))
        assert _https(server.port, "/v2/", trusting) == 200
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        assert _https(server.port, "/v2/", trusting) == 200
        assert ((server.data / "tls" / "key.pem").stat().st_mode & 0o777) == 0o600
        before = cert.read_bytes()
        server.restart()
        assert cert.read_bytes() == before


def _certificate(folder: Path, name: str, *, pkcs1: bool) -> tuple[Path, Path]:
    openssl = require_program("openssl")
    cert, key, plain = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.pkcs1"
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    make += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(make, check=True, capture_output=True)
    if pkcs1:
        convert = [openssl, "rsa", "-traditional", "-in", str(key), "-out", str(plain)]
        subprocess.run(convert, check=True, capture_output=True)
        assert b"BEGIN RSA PRIVATE KEY" in plain.read_bytes()
        return cert, plain
    return cert, key


def test_a_changed_certificate_is_served_without_a_gap(tmp_path: Path) -> None:
    """Own certificate with a PKCS#1 key; when the files change, new connections get the new one."""
    one, two = _certificate(tmp_path, "one", pkcs1=True), _certificate(tmp_path, "two", pkcs1=False)
    live = tmp_path / "live.pem", tmp_path / "live.key"
    for source, target in zip(one, live, strict=True):
        shutil.copy(source, target)
    args = ("--tls-cert", str(live[0]), "--tls-key", str(live[1]))
    env = {"ENTREPOT_SERVER_ALLOWED_HOSTS": "registry.test", "ENTREPOT_TLS_HSTS": "1h"}
    with running_server(tmp_path, *args, scheme="https", env=env) as server:
        assert _served(server.port) == _der(one[0])
        assert _strict_transport(server.port, "registry.test") == "max-age=3600"
        assert _strict_transport(server.port, "localhost") is None
        for source, target in zip(two, live, strict=True):
            shutil.copy(source, target.with_suffix(".new"))
            os.replace(target.with_suffix(".new"), target)
        wait_until(
            lambda: {_served(server.port) for _ in range(6)} == {_der(two[0])}, what="the new certificate"
        )


def _strict_transport(port: int, host: str) -> str | None:
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
    connection.request("GET", "/v2/", headers={"Host": host})
    found = connection.getresponse().headers["strict-transport-security"]
    connection.close()
    return found


def _der(pem: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.read_text())


def _served(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        context = ssl._create_unverified_context()
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            found = secured.getpeercert(binary_form=True)
            assert found is not None
            return found


def test_readiness_tells_what_is_wrong(tmp_path: Path) -> None:
    """D2: a store that cannot be written is named, and pulls go on; when it can again, so does /readyz."""
    if os.geteuid() == 0 and not _can_mount():
        pytest.skip("root writes everywhere, and nothing can be mounted here")
    with running_server(tmp_path, start=False, workers=1) as server:
        server.data.mkdir(mode=0o700)
        blobs = server.data / "uploads"
        server.start()
        wire = Wire(server.port)
        repository = WireRepository(wire, "read/only")
        kept = repository.push(b"before")
        subprocess.run(["mount", "--bind", str(blobs), str(blobs)], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(blobs)], check=True)
            for_pushes = "/readyz?for=pushes"
            wait_until(lambda: wire("GET", for_pushes).status == 503, what="/readyz to say 503")
            answer = wire("GET", "/readyz")
            assert answer.status == 200
            assert "store" in answer.json()["problems"]
            assert repository("GET", f"blobs/{kept}").body == b"before"
        finally:
            subprocess.run(["umount", "-l", str(blobs)], check=True)
        wait_until(lambda: wire("GET", for_pushes).status == 200, what="/readyz to say 200")
        wire.close()


def _can_mount() -> bool:
    return shutil.which("mount") is not None and os.access("/proc/self/mountinfo", os.R_OK)
