"""Cold pulls through a proxy project, beside docker-registry as a cache, and beside no cache at all."""

import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.frame import Bench, Figure, Row
from tests.support.peers import docker_registry
from tests.support.ports import free_port
from tests.support.processes import end
from tests.support.server import running_server


@dataclass(frozen=True, slots=True)
class Got:
    """One pull, in seconds."""

    first_byte: float
    total: float


def _curl(url: str) -> Got:
    wanted = "%{http_code} %{time_starttransfer} %{time_total} %{size_download}"
    argv = ["curl", "-s", "-o", "/dev/null", "-w", wanted, url]
    status, first, total, size = subprocess.run(
        argv, capture_output=True, text=True, check=True
    ).stdout.split()
    assert status == "200", status
    assert int(size) > 0
    return Got(float(first), float(total))


class Town:
    """The capped upstream, our registry and docker-registry in front of it."""

    def __init__(self, bench: Bench, *, mib_s: int, mib: int, sides: int) -> None:
        self.port = free_port()
        argv = [sys.executable, "-m", "bench.capped_upstream", str(self.port), str(mib_s)]
        process = subprocess.Popen(
            [*argv, str(bench.rounds * sides), str(mib)], stdout=subprocess.PIPE, text=True
        )
        bench.closing.callback(end, process)
        assert process.stdout is not None
        self._fresh: list[str] = []
        for line in process.stdout:
            if line.strip() == "ready":
                break
            self._fresh.append(line.split()[0])
        far = f"http://127.0.0.1:{self.port}"
        self.ours = bench.closing.enter_context(running_server(bench.folder / "ours"))
        self.ours.admin("upstream", "add", "far", far, "--inside")
        extra = f'proxy: {{remoteurl: "{far}"}}'
        self.peer = bench.closing.enter_context(docker_registry(bench.folder / "peer", extra=extra))

    def fresh(self) -> str:
        """A blob that nobody has asked for."""
        return self._fresh.pop()

    def sent(self, digest: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/sent/{digest}") as answer:
            return int(answer.read())

    def url(self, side: str, digest: str) -> str:
        base = {
            "ours": f"{self.ours.url}/v2/far/bench/app",
            "peer": f"{self.peer.url}/v2/bench/app",
            "straight": f"http://127.0.0.1:{self.port}/v2/bench/app",
        }[side]
        return f"{base}/blobs/{digest}"


def cold_pull(bench: Bench) -> Iterator[Row]:
    """A blob of 512 MiB nobody has, the upstream sending 100 MiB/s: to the first byte, and in all."""
    town = Town(bench, mib_s=100, mib=512, sides=3)
    got: dict[str, list[Got]] = {"straight": [], "ours": [], "peer": []}
    for _ in range(bench.rounds):
        for side, found in got.items():
            found.append(_curl(town.url(side, town.fresh())))
    first = {side: [one.first_byte * 1000 for one in found] for side, found in got.items()}
    base = statistics.median(first["straight"])
    more = [value - base for value in first["ours"]]
    yield Row("cold pull through, first byte after the upstream's", "ms", more, bar="≤ 50")
    total = {side: [one.total for one in found] for side, found in got.items()}
    figure = "cold pull of 512 MiB at 100 MiB/s, total"
    yield Row(figure, "s", total["ours"], total["straight"], "straight", "≤ 1.15×")
    yield Row("the same", "s", total["ours"], total["peer"])


def crowd(bench: Bench) -> Iterator[Row]:
    """32 clients ask for the same cold 100 MiB at once, the upstream sending 20 MiB/s."""
    town = Town(bench, mib_s=20, mib=100, sides=3)
    times: dict[str, list[float]] = {"ours": [], "peer": [], "alone": []}
    sent: dict[str, list[float]] = {"ours": [], "peer": []}
    with ThreadPoolExecutor(32) as threads:
        for _ in range(bench.rounds):
            times["alone"].append(_curl(town.url("straight", town.fresh())).total)
            for side in ("ours", "peer"):
                digest = town.fresh()
                found = list(threads.map(_curl, [town.url(side, digest)] * 32))
                times[side].append(max(one.total for one in found))
                sent[side].append(town.sent(digest) / (100 << 20))
    yield Row("32 clients of one cold 100 MiB at 20 MiB/s, last one done", "s", times["ours"], times["alone"],
              "one client, straight", "≤ 1.3×")  # fmt: skip
    yield Row("the same", "s", times["ours"], times["peer"])
    yield Row("how often the upstream sent it", "times", sent["ours"], sent["peer"], bar="≤ 1")


FIGURES: dict[str, Figure] = {"pull-through": cold_pull, "pull-through-crowd": crowd}
