"""Access log lines and figures."""

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from entrepot.server.access.secrets.secret import new_secret
from entrepot.server.http.watch import TransferWatch
from entrepot.server.telemetry.access_log import AccessLog, RequestIds, line
from entrepot.server.telemetry.metrics import Metrics, render, retire


def entry(**changes: object) -> tuple[object, ...]:
    fields: dict[str, object] = {
        "when": 1_700_000_000.0625,
        "took": 0.0125,
        "request_id": "id-1",
        "method": "GET",
        "path": "/v2/",
        "query": b"",
        "status": 200,
        "sent": 2,
        "address": "127.0.0.1",
        "principal": "open",
        "agent": b"curl",
        "route": "/v2[/]",
    }
    return tuple({**fields, **changes}.values())


def test_a_line_is_json() -> None:
    made = json.loads(line(entry()))  # type: ignore[arg-type]
    assert made == {
        "time": "2023-11-14T22:13:20.062Z",
        "request_id": "id-1",
        "method": "GET",
        "path": "/v2/",
        "status": 200,
        "bytes": 2,
        "ms": 12.5,
        "address": "127.0.0.1",
        "principal": "open",
        "route": "/v2[/]",
        "agent": "curl",
    }


def test_lines_cannot_be_forged() -> None:
    """L1."""
    hostile = 'a\r\n{"status":200}\x1b[2J\x9b\u202e'
    made = line(entry(path=hostile, agent=hostile.encode("utf-8"), principal=hostile))  # type: ignore[arg-type]
    assert made.count(b"\n") == 1
    assert made.isascii()
    assert b"\x1b" not in made
    assert json.loads(made)["path"] == hostile


@pytest.mark.parametrize("name", ["token", "password", "access_token", "state", "X-Amz-Signature"])
def test_secrets_in_queries_are_removed(name: str) -> None:
    made = line(entry(query=f"a=1&{name}=hunter2&b=2".encode()))  # type: ignore[arg-type]
    assert b"hunter2" not in made
    assert json.loads(made)["query"] == f"a=1&{name}=***&b=2"


def test_secrets_of_ours_are_removed_wherever_they_are() -> None:
    secret = str(new_secret("set").text)
    for query in (f"next=%2Fsetup%3Ftoken%3D{secret}", f"q={secret}&n=1", f"token={secret}"):
        made = line(entry(query=query.encode()))  # type: ignore[arg-type]
        assert secret.removeprefix("ent_set_") not in made.decode()


def test_lines_are_written_together(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access.log"))
    for _ in range(3):
        log.add(entry())  # type: ignore[arg-type]
    log.close()
    assert len((tmp_path / "access.log").read_text().splitlines()) == 3


def test_request_ids_are_unique() -> None:
    one, other = RequestIds(), RequestIds()
    assert len({ids.next() for ids in (one, other) for _ in range(100)}) == 200


def test_figures_of_processes_add_up(tmp_path: Path) -> None:
    """Counters survive the process that counted; gauges do not."""
    for role, pid in (("worker", 1), ("worker", 2)):
        metrics = Metrics(tmp_path, role=role)
        metrics.requests.add("GET", "/v2[/]", "200", by=pid)
        metrics.seconds.observe(0.003, "/v2[/]")
        metrics.gauge("entrepot_busy", "How busy.").set(5)
        metrics.publish()
        written = next(path for path in tmp_path.glob(f"{role}-*.json") if "-1." not in path.name)
        written.rename(tmp_path / f"{role}-{pid}.json")
    retire(tmp_path, 1)
    text = Metrics(tmp_path, role="reader").render().decode()
    assert 'entrepot_http_requests_total{method="GET",route="/v2[/]",status="200"} 3' in text
    assert 'entrepot_http_request_seconds_bucket{route="/v2[/]",le="0.0025"} 0' in text
    assert 'entrepot_http_request_seconds_bucket{route="/v2[/]",le="0.005"} 2' in text
    assert 'entrepot_http_request_seconds_sum{route="/v2[/]"} 0.006' in text
    assert "entrepot_busy 5" in text


def test_the_client_library_of_prometheus_reads_the_text() -> None:
    metrics = Metrics()
    metrics.requests.add('a"b\\c\n', "/v2[/]", "200", by=3)
    for seconds in (0.003, 0.7, 1000.0):
        metrics.seconds.observe(seconds, "/v2[/]")
    metrics.gauge("entrepot_busy", "How busy.").set(0.25)
    families = {one.name: one for one in text_string_to_metric_families(metrics.render().decode())}
    assert families["entrepot_busy"].type == "gauge"
    (request,) = families["entrepot_http_requests"].samples
    assert request.labels == {"method": 'a"b\\c\n', "route": "/v2[/]", "status": "200"}
    assert request.value == 3
    took = families["entrepot_http_request_seconds"]
    buckets = {one.labels["le"]: one.value for one in took.samples if one.name.endswith("_bucket")}
    assert (took.type, buckets["0.005"], buckets["1"], buckets["+Inf"]) == ("histogram", 1, 2, 3)
    assert [one.value for one in took.samples if one.name.endswith(("_sum", "_count"))] == [1000.703, 3]


def test_label_values_are_escaped() -> None:
    metrics = Metrics()
    metrics.requests.add('a"b\\c\n', "r", "200")
    assert 'method="a\\"b\\\\c\\n"' in render([metrics.snapshot()]).decode()


class _Task:
    cancelled: str | None = None

    def cancel(self, message: str) -> None:
        self.cancelled = message


@pytest.mark.anyio
async def test_only_transfers_that_stand_still_are_cut() -> None:
    """H2: judged between two sweeps, never in the first window."""

    watch = TransferWatch(min_rate=1024, window_s=60)
    tasks = [_Task(), _Task()]
    contexts = [watch.metered() for _ in tasks]
    meters = []
    for context, task in zip(contexts, tasks, strict=True):
        meter = context.__enter__()
        meter.task = task
        meters.append(meter)
    assert watch.sweep() == 0
    meters[0].moved += 1024 * 60
    meters[1].moved += 1024 * 60 - 1
    assert watch.sweep() == 1
    assert (tasks[0].cancelled, tasks[1].cancelled is not None) == (None, True)
