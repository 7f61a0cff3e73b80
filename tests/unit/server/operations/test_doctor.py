"""The doctor finds what is wrong, and says how to mend it."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from entrepot.server.db.settings import set_identity
from entrepot.server.operations.doctor import check_catalog, check_directory, check_nodes, check_store
from entrepot.server.operations.doctor_wire import check_wire
from entrepot.server.operations.lifecycle import BucketLogin, check_lifecycle, signed_headers
from entrepot.server.operations.verdict import Verdict
from tests.support.seaweedfs import S3Location
from tests.unit.server.jobs.world import World
from tests.unit.server.operations.conftest import Places


def states(verdicts: list[Verdict]) -> dict[str, str]:
    """The worst state of each check."""
    order = ["ok", "skip", "warn", "fail"]
    found: dict[str, str] = {}
    for verdict in verdicts:
        assert verdict.mend or verdict.state in {"ok", "skip"}
        found[verdict.check] = max(found.get(verdict.check, "ok"), verdict.state, key=order.index)
    return found


def test_a_directory_that_others_may_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert states(check_directory(data, holds_catalog=True)) == {"directory": "fail"}
    data.mkdir(mode=0o700)
    secret = data / "access.key"
    secret.write_bytes(b"x")
    secret.chmod(0o600)
    assert "fail" not in states(check_directory(data, holds_catalog=True, secrets=[secret])).values()
    secret.chmod(0o644)
    (found,) = check_directory(data, holds_catalog=True, secrets=[secret])[:1]
    assert found.mend == f"chmod 600 {secret}"
    data.chmod(0o755)
    assert check_directory(data, holds_catalog=True)[0].mend == f"chmod 700 {data}"
    assert os.access(data, os.W_OK)


@pytest.mark.anyio
async def test_a_catalog_and_its_store(world: World, places: Places) -> None:
    assert states(await check_catalog(world.catalog)) == {"catalog": "ok"}
    before = world.files()
    assert states(await check_store(world.catalog, world.store)) == {"store": "ok"}
    assert world.files() == before
    assert states(await check_nodes(world.catalog)) == {"nodes": "skip"}
    await world.catalog.write(set_identity, "another", 1)
    assert states(await check_store(world.catalog, world.store)) == {"store": "fail"}
    await world.catalog.write(set_identity, "test-store", 0)
    assert states(await check_store(world.catalog, world.store)) == {"store": "fail"}
    cluster = places.side("postgresql", "bucket", "cluster")
    assert states(await check_catalog(cluster.catalog))["catalog"] in {"ok", "warn"}
    assert states(await check_store(cluster.catalog, cluster.store)) == {"store": "warn"}


def test_a_bucket_without_a_rule(s3_location: S3Location) -> None:
    login = BucketLogin(
        f"s3://{s3_location.bucket}/x",
        s3_location.endpoint,
        "us-east-1",
        s3_location.access_key,
        s3_location.secret_key,
    )
    assert check_lifecycle(login).state in {"warn", "ok"}
    assert check_lifecycle(BucketLogin("gs://b", "", "", "", "")).state == "skip"


def test_requests_are_signed_as_the_standard_says() -> None:
    """The example of the documentation of AWS' signature, version 4: GET Bucket Lifecycle."""
    login = BucketLogin(
        "s3://examplebucket",
        "",
        "us-east-1",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    headers = signed_headers(
        login, "examplebucket.s3.amazonaws.com", "/", "lifecycle=", datetime(2013, 5, 24, tzinfo=UTC)
    )
    assert headers["authorization"].endswith(
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


Respond = Callable[[BaseHTTPRequestHandler], None]


class _Server(ThreadingHTTPServer):
    respond: Respond


@pytest.fixture
def proxy() -> Iterator[Callable[[Respond], str]]:
    """Starts a server that answers as it is told; its URL."""
    running: list[_Server] = []

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            assert isinstance(self.server, _Server)
            self.server.respond(self)

        do_GET = do_HEAD = do_PUT = _any

        def log_message(self, *args: object) -> None:
            pass

    def start(respond: Respond) -> str:
        server = _Server(("127.0.0.1", 0), Handler)
        server.respond = respond
        running.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://localhost:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def answer(
    request: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | None = None, body: bytes = b""
) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
    request.close_connection = True


REGISTRY = {"Docker-Distribution-Api-Version": "registry/2.0"}


def test_what_is_no_registry(proxy: Callable[[Respond], str]) -> None:
    url = proxy(lambda request: answer(request, 404, body=b"nothing here"))
    assert states(check_wire(url))["address"] == "fail"
    assert states(check_wire("http://127.0.0.1:1"))["address"] == "fail"
    assert states(check_wire("registry.example.org"))["address"] == "fail"


def test_a_proxy_that_refuses_large_layers_and_sends_clients_elsewhere(
    proxy: Callable[[Respond], str],
) -> None:
    def respond(request: BaseHTTPRequestHandler) -> None:
        challenge = 'Bearer realm="https://localhost/token",service="x",scope="repository:a:pull"'
        status = 413 if request.command == "PUT" else 401
        answer(request, status, {**REGISTRY, "WWW-Authenticate": challenge})

    found = check_wire(proxy(respond))
    broken = [(one.check, one.says) for one in found if one.state == "fail"]
    assert [check for check, _ in broken] == ["realm", "clients"]
    assert "not over http" in broken[0][1]
    assert "413" in broken[1][1]


def test_a_proxy_that_breaks_head_and_a_clock_that_is_wrong(proxy: Callable[[Respond], str]) -> None:
    def respond(request: BaseHTTPRequestHandler) -> None:
        request.date_time_string = lambda timestamp=None: "Mon, 01 Jan 2001 00:00:00 GMT"  # type: ignore[method-assign]
        status = 405 if request.command == "HEAD" else 200 if request.path == "/v2/" else 404
        answer(request, status, REGISTRY)

    found = check_wire(proxy(respond))
    assert states(found) == {"address": "ok", "clock": "fail", "clients": "fail"}
    assert sum(one.state == "fail" for one in found if one.check == "clients") == 2
