"""The doctor finds what is wrong, and says how to mend it."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import insert

from entrepot.oci.digest import Digest
from entrepot.server.db.settings import set_identity
from entrepot.server.db.tables import node
from entrepot.server.doctor.bucket_rule import BucketLogin, check_lifecycle, signed_headers
from entrepot.server.doctor.inside import check_catalog, check_directory, check_nodes, check_store
from entrepot.server.doctor.outside import check_wire
from entrepot.server.doctor.verdict import CheckVerdict
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.storage.memory import MemoryDriver, MemoryUploads
from entrepot.server.storage.objects import open_bucket
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.nodes import NodeBeat, list_nodes
from tests.support.seaweedfs import S3Location
from tests.unit.server.conftest import Places
from tests.unit.server.world import World


def states(verdicts: list[CheckVerdict]) -> dict[str, str]:
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
    os.chown(data, 12345, 12345)
    (found,) = check_directory(data, holds_catalog=False)
    assert found.state == "ok", "as Kubernetes makes a scratch directory"
    secret.chmod(0o640)
    assert "fail" not in states(check_directory(data, holds_catalog=False, secrets=[secret])).values()


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


@pytest.mark.anyio
async def test_a_node_whose_clock_is_wrong_is_named(places: Places) -> None:
    cluster = places.side("postgresql", "folder", "cluster")
    for name, ahead_s in (("a", 0.0), ("b", 0.3), ("c", 90.0)):
        row = {"id": name, "name": name, "role": "serve", "version": "1", "started_at": 1}
        row |= {"seen_at": cluster.catalog.clock.steady(), "detail": json.dumps({"clock_ahead_s": ahead_s})}
        await cluster.catalog.write(
            lambda connection, row=row: connection.execute(insert(node), row) and None
        )
    (found,) = await check_nodes(cluster.catalog)
    assert (found.check, found.state) == ("clock", "warn")
    assert "of c " in found.says
    beat = NodeBeat(cluster.catalog, version="1", problems=no_problems, pid=7)
    await cluster.catalog.write(beat._beat, cluster.catalog.clock.steady(), {})
    nodes = await cluster.catalog.read(list_nodes, cluster.catalog.clock.steady())
    assert all("clock_ahead_s" in one.detail for one in nodes)


async def no_problems() -> dict[str, str]:
    return {}


@pytest.mark.anyio
async def test_a_store_that_refuses_is_told_calmly(places: Places, tmp_path: Path) -> None:
    """Without a catalog to ask, too; no library's prose."""
    bucket = open_bucket(
        "s3://none/x", endpoint="http://127.0.0.1:1", region="x", access_key_id="a", secret_access_key="b",
        allow_http=True,
    )  # fmt: skip
    (found,) = await check_store(None, bucket)
    assert found.state == "fail"
    assert "endpoint" in found.mend
    assert "performing" not in found.says


class Refusing(BlobStore):
    """A store whose client says something."""

    def __init__(self, said: str) -> None:
        driver = MemoryDriver()
        super().__init__(driver, MemoryUploads(driver))
        self._said = said

    async def put(self, digest: Digest, data: bytes) -> str:
        raise StorageFailed(f"storing a blob failed: {self._said}")


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        pytest.param("Generic S3 error: HTTP error: error sending request", "endpoint", id="no-way-there"),
        pytest.param("non-2xx status code: 403 Forbidden: <?xml ?>", "may that key", id="forbidden"),
        pytest.param("non-2xx status code: 401 Unauthorized: <?xml ?>", "access_key_id", id="unauthorized"),
        pytest.param("the bucket is not there (404)", "create the bucket", id="no-bucket"),
        pytest.param("403 Forbidden: <?xml ?><Code>RequestTimeTooSkewed</Code>", "NTP", id="clock"),
        pytest.param(
            "this normally indicates an incorrectly configured region", "storage.region", id="region"
        ),
        pytest.param("something else", "may this account", id="anything-else"),
    ],
)
@pytest.mark.anyio
async def test_what_a_store_says_tells_how_to_mend_it(said: str, mend: str) -> None:
    """Not the names of its objects, in which any number may be."""
    name = "x/blobs/4034040000/skewed.404-401.403"
    notes = f"Error performing PUT http://127.0.0.1:404/none/{name} in 1.403404ms, after 403 retries  - "
    (found,) = await check_store(None, Refusing(f"{notes}{said}"))
    assert mend in found.mend
    assert "403404" not in found.says
    (found,) = await check_store(None, Refusing(f"The operation failed for path {name}: {notes}{said}"))
    assert mend in found.mend


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


def test_the_place_for_tokens_is_asked_where_clients_are_sent(proxy: Callable[[Respond], str]) -> None:
    """Another port of the same host, where nobody is."""

    def respond(request: BaseHTTPRequestHandler) -> None:
        challenge = 'Bearer realm="http://localhost:1/token",service="x",scope="repository:a:pull"'
        answer(request, 401, {**REGISTRY, "WWW-Authenticate": challenge})

    (broken,) = (one for one in check_wire(proxy(respond)) if one.state == "fail")
    assert broken.check == "realm"
    assert "can't be reached" in broken.says


def test_an_address_that_sends_clients_on(proxy: Callable[[Respond], str]) -> None:
    url = proxy(lambda request: answer(request, 301, {"Location": "https://registry.example.org/v2/"}))
    (broken,) = (one for one in check_wire(url) if one.check == "address")
    assert "https://registry.example.org/v2/" in broken.says


def test_plain_http_is_told_for_each_kind_of_client(
    proxy: Callable[[Respond], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = proxy(lambda request: answer(request, 200 if request.path == "/v2/" else 404, REGISTRY))
    monkeypatch.setattr("entrepot.server.doctor.outside._is_loopback", lambda host: False)
    found = [one for one in check_wire(url) if one.state == "warn"]
    assert [one.check for one in found] == ["tls", "clients", "clients", "clients"]
    assert [word in found[at].mend for at, word in enumerate(("tls.cert", "insecure-registries"))] == [
        True
    ] * 2
    assert "registries.conf" in found[2].mend
    assert "hosts.toml" in found[3].mend


def test_authorities_that_are_none(tmp_path: Path) -> None:
    (found,) = check_wire("https://localhost:1", cafile=str(tmp_path / "none.pem"))
    assert found.check == "tls"


def test_a_proxy_that_breaks_head_and_a_clock_that_is_wrong(proxy: Callable[[Respond], str]) -> None:
    def respond(request: BaseHTTPRequestHandler) -> None:
        request.date_time_string = lambda timestamp=None: "Mon, 01 Jan 2001 00:00:00 GMT"  # type: ignore[method-assign]
        status = 405 if request.command == "HEAD" else 200 if request.path == "/v2/" else 404
        answer(request, status, REGISTRY)

    found = check_wire(proxy(respond))
    assert states(found) == {"address": "ok", "clock": "fail", "clients": "fail"}
    assert sum(one.state == "fail" for one in found if one.check == "clients") == 2
