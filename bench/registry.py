"""The registry beside Debian's docker-registry: reads, pushes, big blobs, memory, start."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from bench.frame import Bench, Figure, Row
from bench.load import Pusher, rate_of, small_image, steady_pushes, wrk
from bench.memory import peak_pss_mib
from tests.support.images import digest_of, image
from tests.support.peers import Peer, docker_registry
from tests.support.server import RunningServer, running_server

_MIB = 1 << 20


def _both(bench: Bench, *args: str) -> tuple[RunningServer, Peer]:
    ours = bench.closing.enter_context(running_server(bench.folder / "ours", *args))
    peer = bench.closing.enter_context(docker_registry(bench.folder / "peer"))
    return ours, peer


def _fill_tags(port: int, repository: str, count: int) -> None:
    """`count` tags, each of an image of its own whose layers are shared."""
    first = image([{"shared": b"layer"}])
    with closing(Pusher(port)) as pusher:
        pusher.image(repository, "first", first)
    base = json.loads(first.manifest)

    def push(pusher: Pusher, number: int) -> None:
        raw = json.dumps(base | {"annotations": {"number": str(number)}}).encode()
        pusher.manifest(repository, f"v{number}", raw, first.media_type)

    rate_of(port, push, clients=8, times=count)


def _fill_many_tags(port: int, repository: str, count: int) -> None:
    """`count` tags on one image, 25 a request, as `crane` and others push them."""
    pushed = image([{"shared": b"layer"}])
    with closing(Pusher(port)) as pusher:
        pusher.image(repository, "v0", pushed)
    digest = digest_of(pushed.manifest)

    def push(pusher: Pusher, number: int) -> None:
        tags = "&".join(f"tag=v{tag}" for tag in range(number * 25, number * 25 + 25))
        pusher.manifest(repository, f"{digest}?{tags}", pushed.manifest, pushed.media_type)

    rate_of(port, push, clients=4, times=count // 25)


def _fill_catalog(data: Path, repository: str, count: int) -> None:
    """`count` images straight through the services, beside no server: HTTP would take minutes."""
    import asyncio

    from entrepot.oci.reference import parse_tag
    from entrepot.server.access.decision.actor import Actor
    from entrepot.server.access.decision.change import allow_all
    from entrepot.server.access.open_mode import OPEN_PRINCIPAL
    from entrepot.server.compose import opened
    from entrepot.server.config.load import load

    first = image([{"shared": b"layer"}])
    base = json.loads(first.manifest)
    actor = Actor(OPEN_PRINCIPAL)

    async def fill() -> None:
        async with opened(load(env={}, overrides={"server.data": str(data)})) as services:
            gate = asyncio.Semaphore(256)

            async def push(number: int) -> None:
                async with gate:
                    await services.manifests.put(
                        repository,
                        raw=json.dumps(base | {"annotations": {"number": str(number)}}).encode(),
                        media_type=first.media_type,
                        tag=parse_tag(f"v{number}"),
                        actor=actor,
                        permit=allow_all,
                    )

            await asyncio.gather(*(push(number) for number in range(count)))

    asyncio.run(fill())


def manifests(bench: Bench) -> Iterator[Row]:
    """Manifest GET over 10 000 tags, 16 connections, 100 pushes a second meanwhile."""
    ours, peer = _both(bench)
    script = (
        'math.randomseed(1)\nrequest = function() return wrk.format("GET", '
        '"/v2/bench/app/manifests/v" .. math.random(0, 9999), '
        '{["Accept"] = "application/vnd.oci.image.manifest.v1+json", ["Host"] = "localhost"}) end'
    )
    for side in (ours, peer):
        _fill_tags(side.port, "bench/app", 10_000)

    def rate(side: RunningServer | Peer) -> float:
        with steady_pushes(side.port, "bench/other", per_second=100):
            return wrk(bench.folder, f"http://127.0.0.1:{side.port}", script)

    values = bench.alternating(lambda: rate(ours), lambda: rate(peer))
    yield Row("manifest GET, 10 000 tags, 16 connections, 100 pushes/s", "/s", *values, bar="≥ 10×")


def tag_pages(bench: Bench) -> Iterator[Row]:
    """tags/list pages of 100 with 2 000 tags beside the peer, and with 100 000 tags beside ourselves."""
    ours, peer = _both(bench)
    for side in (ours, peer):
        _fill_tags(side.port, "bench/app", 2_000)
    _fill_many_tags(ours.port, "bench/many", 100_000)

    def rate(side: RunningServer | Peer, repository: str, last: str) -> float:
        script = (
            f'request = function() return wrk.format("GET", "/v2/{repository}/tags/list?n=100&last={last}", '
            '{["Host"] = "localhost"}) end'
        )
        return wrk(bench.folder, f"http://127.0.0.1:{side.port}", script, seconds=4)

    small, theirs, many = bench.alternating(
        lambda: rate(ours, "bench/app", "v15"),
        lambda: rate(peer, "bench/app", "v15"),
        lambda: rate(ours, "bench/many", "v55"),
    )
    yield Row("tags/list page of 100, 2 000 tags, 16 connections", "/s", small, theirs, bar="≥ 10×")
    slower = [few / lots for few, lots in zip(small, many, strict=True)]
    yield Row("tags/list page, time with 100 000 tags over 2 000", "", slower, bar="≤ 1.5")


def blob(bench: Bench) -> Iterator[Row]:
    """One 256 MiB blob, PUT and GET."""
    ours, peer = _both(bench)

    def put(side: RunningServer | Peer) -> float:
        data = os.urandom(_MIB) * 255 + os.urandom(_MIB)
        digest = digest_of(data)
        with closing(Pusher(side.port)) as pusher:
            location = pusher.request("POST", "/v2/bench/blob/blobs/uploads/").headers["Location"]
            path = location if location.startswith("/") else "/" + location.split("/", 3)[3]
            began = time.perf_counter()
            done = pusher.request("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", data)
            took = time.perf_counter() - began
        assert done.status == 201, done.status
        kept[side.port] = digest
        return 256 / took

    kept: dict[int, str] = {}

    def get(side: RunningServer | Peer) -> float:
        with closing(socket.create_connection(("127.0.0.1", side.port))) as connection:
            began = time.perf_counter()
            path = f"/v2/bench/blob/blobs/{kept[side.port]}"
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            buffer, total = bytearray(_MIB), 0
            while got := connection.recv_into(buffer):
                total += got
            took = time.perf_counter() - began
        assert total > 256 * _MIB
        return 256 / took

    yield Row(
        "256 MiB blob PUT", "MiB/s", *bench.alternating(lambda: put(ours), lambda: put(peer)), bar="≥ 2×"
    )
    yield Row(
        "256 MiB blob GET", "MiB/s", *bench.alternating(lambda: get(ours), lambda: get(peer)), bar="≥ 1.2×"
    )


def push_images(port: int, *, clients: int, times: int) -> float:
    """Images pushed a second; they are made before the clock starts and no two share a blob."""
    made = [small_image(f"{number}") for number in range(times)]

    def push(pusher: Pusher, number: int) -> None:
        pusher.image(f"bench/small{number % 8}", f"v{number}", made[number])

    return rate_of(port, push, clients=clients, times=times)


def slow_disk(bench: Bench) -> Iterator[Row]:
    """Small image pushes, 16 clients, every fsync delayed by 5 ms with strace."""
    slow = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync")
    slow += ("-e", "inject=fsync,fdatasync:delay_enter=5000", "--seccomp-bpf")
    ours = bench.closing.enter_context(running_server(bench.folder / "ours", start=False))
    ours.start(prefix=slow)
    peer = bench.closing.enter_context(docker_registry(bench.folder / "peer", prefix=slow))
    values = bench.alternating(
        lambda: push_images(ours.port, clients=16, times=400),
        lambda: push_images(peer.port, clients=16, times=100),
    )
    yield Row("small image pushes, fsync delayed 5 ms, 16 clients", "images/s", *values, bar="≥ 4×")


def small_images(bench: Bench) -> Iterator[Row]:
    """Pushes of a config, two small layers and a manifest, 8 clients."""
    ours, peer = _both(bench)
    values = bench.alternating(
        lambda: push_images(ours.port, clients=8, times=1_000),
        lambda: push_images(peer.port, clients=8, times=300),
    )
    yield Row("small image pushes, 8 clients", "images/s", *values, bar="≥ 4×")


def tag_writes(bench: Bench) -> Iterator[Row]:
    """Manifest PUTs under new tags over one connection."""
    ours, peer = _both(bench)
    pushed = small_image("tags")
    for side in (ours, peer):
        with closing(Pusher(side.port)) as pusher:
            pusher.image("bench/tags", "first", pushed)

    def write(pusher: Pusher, number: int) -> None:
        pusher.manifest("bench/tags", f"t{number}", pushed.manifest, pushed.media_type)

    values = bench.alternating(
        lambda: rate_of(ours.port, write, clients=1, times=500),
        lambda: rate_of(peer.port, write, clients=1, times=500),
    )
    yield Row("tag writes, one connection", "/s", *values, bar="≥ 1×")


def memory(bench: Bench) -> Iterator[Row]:
    """64 uploads of 100 MiB at once, then 64 slow downloads; 25 MiB first: size must not matter."""
    for size in (25, 100):
        with running_server(bench.folder / f"ours{size}") as ours:
            assert ours.process is not None
            with peak_pss_mib(ours.process.pid) as up:
                digests = _upload_all(ours.port, size)
            with peak_pss_mib(ours.process.pid) as down:
                _download_slowly(ours.port, digests)
        yield Row(f"peak memory, 64 uploads of {size} MiB at once", "MiB", up, bar="≤ 400 MiB")
        yield Row(f"peak memory, 64 slow downloads of {size} MiB", "MiB", down, bar="≤ 400 MiB")


def _upload_all(port: int, size: int) -> list[str]:
    block = os.urandom(_MIB)

    def upload(number: int) -> str:
        import hashlib

        head = f"{number:016d}".encode()
        digest = hashlib.sha256(head)
        for _ in range(size):
            digest.update(block)
        with closing(Pusher(port)) as pusher:
            location = pusher.request("POST", "/v2/bench/memory/blobs/uploads/").headers["Location"]
            with closing(socket.create_connection(("127.0.0.1", port))) as connection:
                path = f"{location}{'&' if '?' in location else '?'}digest=sha256:{digest.hexdigest()}"
                length = len(head) + size * _MIB
                connection.sendall(
                    f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()
                    + head
                )
                for _ in range(size):
                    connection.sendall(block)
                answer = connection.recv(4096)
        assert b" 201 " in answer, answer
        return f"sha256:{digest.hexdigest()}"

    with ThreadPoolExecutor(64) as pool:
        return list(pool.map(upload, range(64)))


def _download_slowly(port: int, digests: list[str]) -> None:
    """Every client reads 64 KiB at a time with pauses, so that all 64 are under way at once."""
    gate = threading.Barrier(len(digests))

    def download(digest: str) -> None:
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            path = f"/v2/bench/memory/blobs/{digest}"
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            gate.wait()
            for _ in range(100):
                if not connection.recv(65_536):
                    return
                time.sleep(0.05)

    with ThreadPoolExecutor(len(digests)) as pool:
        list(pool.map(download, digests))


def start(bench: Bench) -> Iterator[Row]:
    """From the command to the first 200 with 100 000 images in the catalog."""
    with running_server(bench.folder / "ours", start=False) as ours:
        ours.start()
        with closing(Pusher(ours.port)) as pusher:
            pusher.image("bench/many", "first", image([{"shared": b"layer"}]))
        ours.stop()
        _fill_catalog(ours.data, "bench/many", 100_000)
        times = []
        for _ in range(bench.rounds):
            began = time.perf_counter()
            ours.start(wait=False)
            while not _answers(ours.port):
                time.sleep(0.005)
            times.append(time.perf_counter() - began)
            ours.stop()
    yield Row("start to first 200, 100 000 images", "s", times, bar="≤ 1.5 s")


def _answers(port: int) -> bool:
    try:
        with closing(Pusher(port)) as pusher:
            return pusher.request("GET", "/v2/").status == 200
    except OSError:
        return False


FIGURES: dict[str, Figure] = {
    "manifests": manifests,
    "tag-pages": tag_pages,
    "blob": blob,
    "slow-disk": slow_disk,
    "small-images": small_images,
    "tag-writes": tag_writes,
    "memory": memory,
    "start": start,
}
