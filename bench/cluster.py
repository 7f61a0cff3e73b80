"""Nodes on PostgreSQL and an object store, beside Debian's docker-registry; catalogs of a million tags.

`BENCH_TAGS` (1000000) is the size of the large catalog; the small one has a hundredth of it.
"""

import asyncio
import os
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from bench.catalog_fill import fill
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


def _timed(work: Callable[[], None], times: int) -> float:
    """Milliseconds of one call, median of `times`."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def large_catalog(bench: Bench) -> Iterator[Row]:
    """Tag pages, manifest GETs and pushes with BENCH_TAGS tags beside a hundredth of them."""
    port = _database(bench)
    sides = {}
    for tags in (TAGS, max(TAGS // 100, 1_000)):
        database = _new_database(port)
        node = _node(bench, f"node{tags}", _env(port, database, ENTREPOT_GC_ENABLED="false"))
        fill(port, database, tags)
        sides[tags] = (node, Pusher(node.port))
    big, small = sorted(sides, reverse=True)

    def get(tags: int) -> float:
        _, pusher = sides[tags]
        numbers = iter(range(1, tags, max(tags // 400, 1)))

        def one() -> None:
            number = next(numbers)
            answer = pusher.request("GET", f"/v2/big/r{(number - 1) % 100}/manifests/v{number}")
            assert answer.status == 200, (number, answer.status)

        return _timed(one, 200)

    def page(tags: int) -> float:
        _, pusher = sides[tags]

        def one() -> None:
            assert pusher.request("GET", "/v2/big/r7/tags/list?n=100&last=v5").status == 200

        return _timed(one, 200)

    turn = iter(range(100_000))

    def push(tags: int) -> float:
        _, pusher = sides[tags]

        def one() -> None:
            number = next(turn)
            pusher.image("big/r3", f"new{number}", small_image(f"{number}"))

        return _timed(one, 40)

    for what, work in (("manifest GET", get), ("page of 100 tags", page), ("push of an image", push)):
        values = bench.alternating(lambda work=work: work(big), lambda work=work: work(small))
        yield Row(f"{what}, {big} tags beside {small}", "ms", *values, f"{small} tags", bar="≤ 1.5×")
    for _, pusher in sides.values():
        pusher.close()


def collection(bench: Bench) -> Iterator[Row]:
    """Deciding BENCH_TAGS / 10 dead blobs, pushes meanwhile; the peer's collector on what it can be given."""
    from entrepot.server.db import open_catalog
    from entrepot.server.jobs.gc import GcSettings, collect

    port, database = _database(bench), ""
    database = _new_database(port)
    live, dead = TAGS * 3 // 10, TAGS // 10
    node = _node(bench, "node", _env(port, database, ENTREPOT_GC_ENABLED="false"))
    fill(port, database, live // 3, dead=dead)
    url = f"postgresql://postgres@127.0.0.1:{port}/{database}"

    def decide_and_delete(*, dry_run: bool) -> float:
        """Seconds of one run."""

        async def run() -> int:
            catalog = open_catalog(url)
            report = await collect(catalog, GcSettings(), dry_run=dry_run)
            await catalog.close()
            return report.removed.get("blob", 0)

        began = time.perf_counter()
        assert asyncio.run(run()) == dead
        return time.perf_counter() - began

    blobs = live + dead
    deciding = [decide_and_delete(dry_run=True) / blobs * 1e6 for _ in range(bench.rounds)]
    theirs = _peer_collection(bench)
    yield Row(f"deciding {dead} dead of {blobs} blobs, a blob", "µs", deciding, theirs, bar="≤ 0.05×")
    before = _pushes(node.port, lambda: time.sleep(5))
    took = 0.0

    def delete() -> None:
        nonlocal took
        took = decide_and_delete(dry_run=False)

    during = _pushes(node.port, delete)
    yield Row("deleting them beside pushes, a dead blob", "µs", [took / dead * 1e6])
    p99 = [[statistics.quantiles(values, n=100)[98]] for values in (during, before)]
    yield Row("p99 of pushes meanwhile", "ms", *p99, "without", bar="≤ 2×")


def _pushes(port: int, meanwhile: Callable[[], None]) -> list[float]:
    """Milliseconds of pushes one after the other while `meanwhile()` runs."""
    over, took = threading.Event(), list[float]()

    def push() -> None:
        with closing(Pusher(port)) as pusher:
            while not over.is_set() or len(took) < 100:
                began = time.perf_counter()
                pusher.image("bench/gc", f"t{len(took) % 50}", small_image(uuid.uuid4().hex))
                took.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=push)
    thread.start()
    try:
        meanwhile()
    finally:
        over.set()
        thread.join()
    return took


def _peer_collection(bench: Bench) -> list[float]:
    """Microseconds a blob of `docker-registry garbage-collect --dry-run`, each round."""
    folder, count = bench.folder / "collected", 1_000
    with docker_registry(folder) as peer:

        def push(pusher: Pusher, number: int) -> None:
            pushed = image([{f"{number}": os.urandom(200)}, {f"b{number}": os.urandom(200)}])
            for data in pushed.blobs.values():
                pusher.blob(f"gc/r{number % 10}", data)
            if number % 10:
                pusher.manifest(f"gc/r{number % 10}", f"v{number}", pushed.manifest, pushed.media_type)

        rate_of(peer.port, push, clients=8, times=count)
    argv = [require_program("docker-registry"), "garbage-collect", "--dry-run", str(folder / "registry.yml")]
    took = []
    for _ in range(bench.rounds):
        began = time.perf_counter()
        subprocess.run(argv, capture_output=True, check=True)
        took.append((time.perf_counter() - began) / (4 * count) * 1e6)
    return took


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
        before = counted()
        with closing(Pusher(node.port)) as pusher:
            for number in range(times):
                work(pusher, number)
        time.sleep(2)  # figures of a session reach the view within a second
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
