"""Nodes that share one PostgreSQL and one object store, and the balancers in front of them."""

import contextlib
import csv
import io
import re
import signal
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.journal import Unexpected
from tests.support.ports import free_port, is_free
from tests.support.postgresql import run_sql
from tests.support.processes import started, wait_until
from tests.support.programs import require_program
from tests.support.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.support.server import RunningServer, running_server
from tests.support.wire import Answer, Wire

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


@dataclass(frozen=True)
class Place:
    """Where nodes keep everything: a database and a prefix in a bucket."""

    catalog: str
    endpoint: str
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex}")

    @property
    def env(self) -> dict[str, str]:
        return {
            "ENTREPOT_CATALOG_URL": self.catalog,
            "ENTREPOT_STORAGE_URL": f"s3://{BUCKET}/{self.prefix}",
            "ENTREPOT_STORAGE_ENDPOINT": self.endpoint,
            "ENTREPOT_STORAGE_REGION": "us-east-1",
            "ENTREPOT_STORAGE_ACCESS_KEY_ID": ACCESS_KEY,
            "ENTREPOT_STORAGE_SECRET_ACCESS_KEY": SECRET_KEY,
            "ENTREPOT_STORAGE_ALLOW_HTTP": "true",
            "ENTREPOT_SERVER_BEHIND_PROXY": "127.0.0.1",
        }


@contextlib.contextmanager
def database(port: int) -> Iterator[str]:
    """The URL of a database of this block's own on the server at `port`."""
    name = f"t{uuid.uuid4().hex}"
    run_sql(port, f"create database {name} template template0")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/{name}"
    finally:
        with contextlib.suppress(RuntimeError):
            run_sql(port, f"drop database if exists {name} with (force)")


@contextlib.contextmanager
def node_for_later(
    folder: Path, place: Place, *, env: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[RunningServer]:
    """A node with a single worker that is not started yet, on a free port unless one is given."""
    with running_server(folder, workers=1, env={**place.env, **(env or {})}, start=False) as node:
        if port is not None:
            node.argv = [argument.replace(f":{node.port}", f":{port}") for argument in node.argv]
            node.port = port
        yield node


@contextlib.contextmanager
def running_node(
    folder: Path, place: Place, *, env: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """One node with a single worker."""
    with node_for_later(folder, place, env=env) as node:
        node.start()
        yield node


@contextlib.contextmanager
def running_nodes(
    folder: Path, place: Place, count: int, *, env: Mapping[str, str] | None = None
) -> Iterator[list[RunningServer]]:
    """`count` nodes, all ready."""
    with contextlib.ExitStack() as open_until_end:
        yield [
            open_until_end.enter_context(running_node(folder / f"node{number}", place, env=env))
            for number in range(count)
        ]


def nginx_config(folder: Path, nodes: Sequence[str], port: int, later: int | None = None) -> str:
    """`deploy/nginx/entrepot.conf` for nodes at `address:port`, without TLS, inside a whole configuration.

    `later` is asked when none of the others can be reached.
    """
    text = (DEPLOY / "nginx" / "entrepot.conf").read_text()
    servers = "".join(f"    server {node} max_fails=0;\n" for node in nodes)
    if later is not None:
        servers += f"    server 127.0.0.1:{later} backup;\n"
    text = re.sub(r"(    server 10\.0\.0\.\d+:5000[^\n]*\n)+", servers, text)
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = re.sub(r"    ssl_[^\n]*\n", "", text).replace("/var/log/nginx", str(folder))
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 512; }}\nhttp {{ access_log off;\n{places}{text}}}\n"
    )


def addresses(nodes: Sequence[RunningServer]) -> list[str]:
    """Where a balancer finds them."""
    return [f"{node.ip}:{node.port}" for node in nodes]


@contextlib.contextmanager
def nginx(folder: Path, nodes: Sequence[RunningServer], *, later: int | None = None) -> Iterator[int]:
    """nginx in front of `nodes`, set up as the example says; yields its port."""
    program = require_program("nginx")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(nginx_config(folder, addresses(nodes), port, later))
    argv = [program, "-c", str(config), "-e", str(folder / "start.log")]
    with started(argv, log=folder / "log", ready=lambda: not is_free(port)):
        yield port


@dataclass
class HaProxy:
    """A running HAProxy."""

    port: int
    stats_port: int

    def server(self, number: int) -> dict[str, str]:
        """The row of node `number` in its statistics."""
        answer = Wire(self.stats_port)("GET", "/stats;csv")
        rows = csv.DictReader(io.StringIO(answer.body.decode().removeprefix("# ")))
        return next(row for row in rows if row["pxname"] == "nodes" and row["svname"] == f"node{number}")


def haproxy_config(nodes: Sequence[str], port: int, stats_port: int) -> str:
    """`deploy/haproxy/haproxy.cfg` for nodes at `address:port`: no TLS, statistics, a log on stdout."""
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    servers = "".join(f"    server node{number} {node} check\n" for number, node in enumerate(nodes, 1))
    text = re.sub(r"(    server node\d+ [^\n]*\n)+", servers, text)
    text = re.sub(r"bind :443 [^\n]*", f"bind 127.0.0.1:{port}", text)
    text = re.sub(r"    ssl-default[^\n]*\n", "", text)
    text = text.replace("log /dev/log local0", "log stdout format raw local0")
    # A busy machine is no reason to think a node dead.
    text = text.replace("timeout check 5s", "timeout check 60s").replace("inter 2s", "inter 200ms")
    text = text.replace(" slowstart 5s", "").replace("X-Forwarded-Proto https", "X-Forwarded-Proto http")
    return text + f"\nlisten stats\n    bind 127.0.0.1:{stats_port}\n    stats enable\n    stats uri /stats\n"


@contextlib.contextmanager
def haproxy(folder: Path, nodes: Sequence[RunningServer]) -> Iterator[HaProxy]:
    """HAProxy in front of `nodes`, set up as the example says."""
    program = require_program("haproxy")
    folder.mkdir(parents=True, exist_ok=True)
    made = HaProxy(free_port(), free_port())
    config = folder / "haproxy.cfg"
    config.write_text(haproxy_config(addresses(nodes), made.port, made.stats_port))

    def ready() -> bool:
        if is_free(made.port) or is_free(made.stats_port):
            return False
        return all(made.server(number)["status"] == "UP" for number in range(1, len(nodes) + 1))

    with started([program, "-db", "-f", str(config)], log=folder / "log", ready=ready):
        yield made


def replace_node(balancer: HaProxy, number: int, node: RunningServer, argv: list[str] | None = None) -> None:
    """End node `number` as an operator does and start it again, or `argv` in its place; no request is lost.

    Its drain delay must be long: this waits until it is idle and ends the delay itself.
    """
    process = node.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: balancer.server(number)["status"] == "DOWN", what="the balancer to look away")
    wait_until(lambda: balancer.server(number)["scur"] == "0", what="the last request on the node")
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    node.argv = argv or node.argv
    node.start()
    wait_until(lambda: balancer.server(number)["status"] == "UP", what="the balancer to look back")


class Hiccup(ConnectionError):
    """An answer that a fault explains; the client tries again."""


class ClusterWire(Wire):
    """A connection through a balancer: predicted errors are raised as what a client meets when a server dies.

    Predicted are 503 with Retry-After from a node, the balancer's own 502 for a node that has just died, and
    409 for an upload that such a node still holds.
    `may_forget_uploads` is for a database that crashes: the row of an upload is not waited for on disk, since
    nothing is promised by it, so an upload may have to begin again.
    """

    may_forget_uploads = False

    def __call__(self, method: str, path: str, **more: object) -> Answer:  # type: ignore[override]
        answer = super().__call__(method, path, **more)  # type: ignore[arg-type]
        is_page = answer.headers.get("content-type") == "text/html" and "server" not in answer.headers
        if answer.status in {502, 503, 504} and is_page:
            raise Hiccup(f"{method} {path}: HAProxy's {answer.status}")
        if answer.status == 503:
            if "retry-after" not in answer.headers:
                raise Unexpected(f"{method} {path}: 503 without Retry-After: {answer}")
            raise Hiccup(f"{method} {path}: {answer.body[:200]!r}")
        if answer.status == 409 and "/blobs/uploads/" in path:
            # The balancer asked a second node after the first had died with the upload in its hands.
            raise Hiccup(f"{method} {path}: the upload begins again")
        is_lost = answer.status == 404 and "/blobs/uploads/" in path
        if self.may_forget_uploads and is_lost and answer.code == "BLOB_UPLOAD_UNKNOWN":
            raise Hiccup(f"{method} {path}: the upload begins again")
        if answer.status == 502 and answer.headers.get("server", "").startswith("nginx"):
            raise Hiccup(f"{method} {path}: bad gateway")
        return answer
