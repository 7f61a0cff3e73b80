"""Nodes on PostgreSQL and an object store, beside Debian's docker-registry; catalogs of a million tags.

`BENCH_TAGS` (1000000) is the size of the large catalog, in tags; collection takes as many blobs.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from bench.catalog_fill import add_dead, fill
from bench.frame import Bench, Figure, Row
from bench.load import Pusher, rate_of, small_image, wrk
from bench.memory import descendants
from bench.registry import _fill_tags
from tests.support.images import image
from tests.support.peers import Peer, docker_registry
from tests.support.ports import free_port
from tests.support.postgresql import is_ready as database_is_ready
from tests.support.postgresql import make_cluster, run_sql
from tests.support.processes import started
from tests.support.programs import require_program
from tests.support.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.support.seaweedfs import command as store_command
from tests.support.seaweedfs import is_ready as store_is_ready
from tests.support.server import RunningServer, running_server

TAGS = int(os.environ.get("BENCH_TAGS", "1000000"))
SMALL = 10_000
_GET = (
    'math.randomseed(1)\nrequest = function() return wrk.format("GET", "{path}", '
    '{{["Accept"] = "application/vnd.oci.image.manifest.v1+json", ["Host"] = "localhost"}}) end'
)
_MIB = 1 << 20


def _database(bench: Bench) -> int:
    """The port of a PostgreSQL of this figure's own."""
    folder = Path(tempfile.mkdtemp(prefix="entrepot-bench-pg-"))
    folder.chmod(0o755)
    bench.closing.callback(lambda: subprocess.run(["rm", "-rf", str(folder)], check=False))
    port = free_port()
    argv = [*make_cluster(folder, port), "-cshared_buffers=1GB", "-cmax_wal_size=8GB"]
    bench.closing.enter_context(
        started(argv, log=bench.folder / "pg.log", ready=lambda: database_is_ready(port), cwd=Path("/"))
    )
    return port


def _store(bench: Bench) -> str:
    """The endpoint of an object store of this figure's own."""
    folder, port = bench.folder / "weed", free_port()
    folder.mkdir()
    bench.closing.enter_context(
        started(
            store_command(folder, port), log=bench.folder / "weed.log", ready=lambda: store_is_ready(port)
        )
    )
    return f"http://127.0.0.1:{port}"


def _new_database(port: int) -> str:
    name = f"b{uuid.uuid4().hex}"
    run_sql(port, f"create database {name} template template0")
    return name


def _env(database_port: int, database: str, endpoint: str | None = None, **more: str) -> dict[str, str]:
    env = {"ENTREPOT_CATALOG_URL": f"postgresql://postgres@127.0.0.1:{database_port}/{database}", **more}
    if endpoint is not None:
        env |= {
            "ENTREPOT_STORAGE_URL": f"s3://{BUCKET}/{database}",
            "ENTREPOT_STORAGE_ENDPOINT": endpoint,
            "ENTREPOT_STORAGE_REGION": "us-east-1",
            "ENTREPOT_STORAGE_ACCESS_KEY_ID": ACCESS_KEY,
            "ENTREPOT_STORAGE_SECRET_ACCESS_KEY": SECRET_KEY,
            "ENTREPOT_STORAGE_ALLOW_HTTP": "true",
        }
    return env


def _node(bench: Bench, name: str, env: dict[str, str], *args: str) -> RunningServer:
    return bench.closing.enter_context(running_server(bench.folder / name, *args, env=env))


def _peer_on_store(bench: Bench, endpoint: str) -> Peer:
    storage = (
        f's3: {{accesskey: "{ACCESS_KEY}", secretkey: "{SECRET_KEY}", region: "us-east-1", '
        f'regionendpoint: "{endpoint}", bucket: "{BUCKET}", rootdirectory: "/peer", '
        "secure: false, v4auth: true}, redirect: {disable: true}"
    )
    return bench.closing.enter_context(
        docker_registry(bench.folder / "peer", storage=storage, prefix=("env", "-u", "AWS_CA_BUNDLE"))
    )


def manifests_on_postgresql(bench: Bench) -> Iterator[Row]:
    """Manifest GET by tag: one node on PostgreSQL beside the peer on a local folder."""
    port = _database(bench)
    ours = _node(bench, "ours", _env(port, _new_database(port)))
    peer = bench.closing.enter_context(docker_registry(bench.folder / "peer"))
    for side in (ours, peer):
        _fill_tags(side.port, "bench/app", 2_000)
    script = _GET.format(path='/v2/bench/app/manifests/v" .. math.random(0, 1999) .. "')

    def rate(side: RunningServer | Peer) -> float:
        return wrk(bench.folder, f"http://127.0.0.1:{side.port}", script)

    values = bench.alternating(lambda: rate(ours), lambda: rate(peer))
    yield Row("manifest GET by tag, PostgreSQL beside a local folder", "/s", *values, bar="≥ 1.5×")


def pushes_on_store(bench: Bench) -> Iterator[Row]:
    """Images of two layers pushed by 8 clients, both on the same object store."""
    port, endpoint = _database(bench), _store(bench)
    ours = _node(bench, "ours", _env(port, _new_database(port), endpoint))
    peer = _peer_on_store(bench, endpoint)
    turn = iter(range(1000))

    def rate(side: RunningServer | Peer) -> float:
        number = next(turn)

        def push(pusher: Pusher, at: int) -> None:
            pusher.image(f"bench/p{at % 8}", f"v{number}-{at}", small_image(f"{number}-{at}"))

        return rate_of(side.port, push, clients=8, times=80)

    values = bench.alternating(lambda: rate(ours), lambda: rate(peer))
    yield Row("images of two layers pushed to the store, 8 clients", "/s", *values, bar="≥ 1.5×")


def _cpu_seconds(pid: int) -> float:
    """CPU time that a process and all below it have used."""
    total = 0
    for each in descendants(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _fetch(url: str, size: int) -> float:
    """MiB a second of one download."""
    began, left = time.perf_counter(), size
    with urllib.request.urlopen(url, timeout=300) as answer:
        while piece := answer.read(_MIB):
            left -= len(piece)
    assert left == 0
    return size / _MIB / (time.perf_counter() - began)


def blobs_from_store(bench: Bench) -> Iterator[Row]:
    """A layer of 256 MiB: by redirect, and streamed through the node beside the store's own speed."""
    port, endpoint = _database(bench), _store(bench)
    env = _env(port, _new_database(port), endpoint)
    streaming = _node(bench, "streaming", env)
    redirecting = _node(bench, "redirecting", {**env, "ENTREPOT_STORAGE_REDIRECT": "true"})
    data = os.urandom(_MIB) * 256
    with closing(Pusher(streaming.port)) as pusher:
        digest = pusher.blob("bench/large", data)
    path = f"/v2/bench/large/blobs/{digest}"
    assert redirecting.process is not None
    assert streaming.process is not None

    def sent(server: RunningServer) -> float:
        with closing(Pusher(server.port)) as asked:
            asked._http.request("GET", "/metrics", headers={"Host": "localhost"})
            text = asked._http.getresponse().read().decode()
        return float(
            next(
                line for line in text.splitlines() if line.startswith("entrepot_http_sent_bytes_total")
            ).split()[1]
        )

    before = sent(redirecting)
    with closing(Pusher(redirecting.port)) as pusher:
        answer = pusher.request("GET", path)
        assert answer.status == 307, answer.status
        direct = answer.headers["Location"]
    url = f"http://localhost:{streaming.port}{path}"
    used = _cpu_seconds(streaming.process.pid)
    ours, theirs = bench.alternating(lambda: _fetch(url, len(data)), lambda: _fetch(direct, len(data)))
    used = _cpu_seconds(streaming.process.pid) - used
    passed = sent(redirecting) - before
    yield Row(
        "GET by redirect: body bytes of the blob through the node",
        "MiB",
        [max(0, passed - 65_536) / _MIB],
        bar="≤ 0",
    )
    yield Row("GET streamed beside the store's own speed", "MiB/s", ours, theirs, "the store", bar="≥ 0.5×")
    yield Row("CPU of the node a GB streamed", "s", [used / (bench.rounds * len(data) / 1e9)])


def large_catalog(bench: Bench) -> Iterator[Row]:
    """Tag pages, manifest GETs and pushes with BENCH_TAGS tags beside 10 000.

    The bytes of the blobs do not exist, so nothing may read them back.
    """
    port = _database(bench)
    quiet = {"ENTREPOT_GC_ENABLED": "false", "ENTREPOT_SCRUB_ENABLED": "false"}
    nodes = {}
    for tags in (TAGS, SMALL):
        database = _new_database(port)
        nodes[tags] = _node(bench, f"node{tags}", _env(port, database, **quiet))
        fill(port, database, tags)
    run_sql(port, "checkpoint")  # or the first requests would write for the generator
    big, small = sorted(nodes, reverse=True)
    turn = iter(range(1_000_000))

    def get(pusher: Pusher, tags: int) -> None:
        number = next(turn) * 7919 % tags + 1
        answer = pusher.request("GET", f"/v2/big/r{(number - 1) % 100}/manifests/v{number}")
        assert answer.status == 200, (number, answer.status)

    def page(pusher: Pusher, tags: int) -> None:  # noqa: ARG001 - as the others
        assert pusher.request("GET", "/v2/big/r7/tags/list?n=50&last=v5").status == 200

    def push(pusher: Pusher, tags: int) -> None:  # noqa: ARG001
        number = next(turn)
        pusher.image("big/r3", f"new{number}", small_image(f"{number}"))

    for what, work, times in (
        ("manifest GET", get, 400),
        ("page of 50 tags", page, 400),
        ("push of an image", push, 100),
    ):
        _medians(work, nodes, times)  # warm
        rounds = [_medians(work, nodes, times) for _ in range(bench.rounds)]
        yield Row(
            f"{what}, {big} tags beside {small}",
            "ms",
            [medians[big] for medians in rounds],
            [medians[small] for medians in rounds],
            f"{small} tags",
            bar="≤ 1.5×",
        )


def _medians(
    work: Callable[[Pusher, int], None], nodes: dict[int, RunningServer], times: int
) -> dict[int, float]:
    """Milliseconds of one call at each node, median of `times`; call by call in turn."""
    took: dict[int, list[float]] = {tags: [] for tags in nodes}
    with ExitStack() as closing_all:
        pushers = {
            tags: closing_all.enter_context(closing(Pusher(node.port))) for tags, node in nodes.items()
        }
        for _ in range(times):
            for tags, pusher in pushers.items():
                began = time.perf_counter()
                work(pusher, tags)
                took[tags].append((time.perf_counter() - began) * 1000)
    return {tags: statistics.median(values) for tags, values in took.items()}


def collection(bench: Bench) -> Iterator[Row]:
    """Deciding BENCH_TAGS / 10 dead of BENCH_TAGS blobs beside the peer's collector; pushes meanwhile."""
    port = _database(bench)
    database = _new_database(port)
    dead = TAGS // 10
    quiet = {"ENTREPOT_GC_ENABLED": "false", "ENTREPOT_SCRUB_ENABLED": "false"}
    node = _node(bench, "node", _env(port, database, **quiet))
    fill(port, database, (TAGS - dead) // 3)
    run_sql(port, "checkpoint")
    url = f"postgresql://postgres@127.0.0.1:{port}/{database}"
    _pushes(node.port, partial(_wait, 1), least=200)  # warm
    peer = _PeerCollection(bench)

    # Decided and told of one by one, as the peer does; then removed while clients push.
    add_dead(port, database, dead, "decided")
    deciding = bench.alternating(lambda: _collect(url, dead, dry_run=True) / TAGS * 1e6, peer.run)
    yield Row(f"deciding {dead} dead of {TAGS} blobs, a blob", "µs", *deciding, bar="≤ 0.05×")
    before, during, removing = list[float](), list[float](), list[float]()
    for turn in range(bench.rounds):
        if turn:
            add_dead(port, database, dead, f"removed {turn}")
        values, seconds = _pushes(node.port, partial(_collect, url, dead, dry_run=False))
        during.append(statistics.quantiles(values, n=100)[98])
        removing.append(seconds / dead * 1e6)
        values, _ = _pushes(node.port, partial(_wait, seconds))
        before.append(statistics.quantiles(values, n=100)[98])
    yield Row("deciding and removing them beside pushes, a dead blob", "µs", removing)
    yield Row("p99 of pushes meanwhile", "ms", during, before, "without", bar="≤ 2×")


def _collect(url: str, dead: int, *, dry_run: bool) -> float:
    """Seconds of one run, in a process of its own as in a server."""
    argv = [sys.executable, "-m", "bench.collect", url, *(["--dry-run"] if dry_run else [])]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = json.loads(said)
    assert found["removed"].get("blob") == dead, found
    return float(found["seconds"])


def _wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def _pushes(port: int, meanwhile: Callable[[], float], *, least: int = 300) -> tuple[list[float], float]:
    """Milliseconds of pushes by two clients, one at a time each, while `meanwhile()` runs, and its answer."""
    over, took = threading.Event(), list[float]()

    def push(client: int) -> None:
        with closing(Pusher(port)) as pusher:
            while not over.is_set() or len(took) < least:
                pushed = small_image(uuid.uuid4().hex)
                began = time.perf_counter()
                pusher.image(f"bench/gc{client}", f"t{len(took) % 50}", pushed)
                took.append((time.perf_counter() - began) * 1000)

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(push, client) for client in range(2)]
        try:
            answer = meanwhile()
        finally:
            over.set()
        for client in clients:
            client.result()
    return took, answer


class _PeerCollection:
    """`docker-registry garbage-collect --dry-run` over images of which one in ten has no manifest."""

    def __init__(self, bench: Bench) -> None:
        self._folder, self._count = bench.folder / "collected", 1_000
        with docker_registry(self._folder) as peer:
            rate_of(peer.port, self._push, clients=8, times=self._count)

    @staticmethod
    def _push(pusher: Pusher, number: int) -> None:
        pushed = image([{f"{number}": os.urandom(200)}, {f"b{number}": os.urandom(200)}])
        for data in pushed.blobs.values():
            pusher.blob(f"gc/r{number % 10}", data)
        if number % 10:
            pusher.manifest(f"gc/r{number % 10}", f"v{number}", pushed.manifest, pushed.media_type)

    def run(self) -> float:
        """Microseconds a blob; what it calls blobs are manifests too."""
        config = str(self._folder / "registry.yml")
        argv = [require_program("docker-registry"), "garbage-collect", "--dry-run", config]
        began = time.perf_counter()
        subprocess.run(argv, capture_output=True, check=True)
        return (time.perf_counter() - began) / (3 * self._count + self._count * 9 // 10) * 1e6


def two_nodes(bench: Bench) -> Iterator[Row]:
    """One node beside two on the same cores: what a second node costs, and the database's part."""
    port = _database(bench)
    database = _new_database(port)
    env = _env(port, database)
    nodes = [_node(bench, f"node{number}", env, "--workers", "1") for number in range(2)]
    _fill_tags(nodes[0].port, "bench/app", 2_000)
    script = _GET.format(path='/v2/bench/app/manifests/v" .. math.random(0, 1999) .. "')

    def one() -> float:
        return wrk(bench.folder, f"http://127.0.0.1:{nodes[0].port}", script)

    def both() -> float:
        rates: list[float] = []

        def run(node: RunningServer, folder: Path) -> None:
            folder.mkdir(exist_ok=True)
            rates.append(wrk(folder, f"http://127.0.0.1:{node.port}", script, connections=8))

        threads = [
            threading.Thread(target=run, args=(node, bench.folder / f"wrk{number}"))
            for number, node in enumerate(nodes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(rates)

    two, single = bench.alternating(both, one)
    yield Row("manifest GET, two nodes of one worker beside one", "/s", two, single, "one node")
    yield from _statements(port, database, nodes[0])


FIGURES_LATE_S = 12
"""An idle session of PostgreSQL tells its figures after ten seconds."""


def _statements(port: int, database: str, node: RunningServer) -> Iterator[Row]:
    """Statements and row locks that a request costs the database, as PostgreSQL counts them."""

    def counted() -> tuple[int, int]:
        row = run_sql(
            port,
            "select pg_stat_force_next_flush()" if _has_flush(port) else "select 1",
            "select xact_commit, tup_updated + tup_inserted from pg_stat_database"
            f" where datname = '{database}'",
        ).strip()
        commits, changes = row.splitlines()[-1].split("|")
        return int(commits), int(changes)

    def cost(work: Callable[[Pusher, int], None], times: int) -> tuple[float, float]:
        time.sleep(FIGURES_LATE_S)
        before = counted()
        with closing(Pusher(node.port)) as pusher:
            for number in range(times):
                work(pusher, number)
        time.sleep(FIGURES_LATE_S)
        after = counted()
        return (after[0] - before[0]) / times, (after[1] - before[1]) / times

    def get(pusher: Pusher, number: int) -> None:
        pusher.request("GET", f"/v2/bench/app/manifests/v{number % 2000}")

    def push(pusher: Pusher, number: int) -> None:
        pusher.image("bench/cost", f"v{number}", small_image(uuid.uuid4().hex))

    transactions, _ = cost(get, 2_000)
    yield Row("transactions of a manifest GET", "", [transactions])
    transactions, rows = cost(push, 200)
    yield Row("transactions of a push of three blobs and a manifest", "", [transactions])
    yield Row("rows that such a push writes", "", [rows])


def _has_flush(port: int) -> bool:
    return "1" in run_sql(port, "select count(*) from pg_proc where proname = 'pg_stat_force_next_flush'")


FIGURES: dict[str, Figure] = {
    "cluster-manifests": manifests_on_postgresql,
    "cluster-pushes": pushes_on_store,
    "cluster-blobs": blobs_from_store,
    "cluster-large": large_catalog,
    "cluster-gc": collection,
    "cluster-two-nodes": two_nodes,
}
