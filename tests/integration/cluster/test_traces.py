"""A real server sends its spans to a real collector, over OTLP/HTTP."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import image, push_image
from tests.support.processes import wait_until
from tests.support.server import running_server
from tests.support.wire import Wire

service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
metrics_service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
json_format = pytest.importorskip("google.protobuf.json_format")
pytestmark = pytest.mark.timeout(180)

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Collector:
    """Keeps all spans that come in."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.keys: set[str | None] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/metrics":
                    collector.take_metrics(body, self.headers.get("X-Key"))
                    self._well()
                    return
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                got = service.ExportTraceServiceRequest.FromString(body)
                for resource in got.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self._well()

            def _well(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take_metrics(self, body: bytes, key: str | None) -> None:
        """Read by OpenTelemetry's own schema: an unknown or ill-typed field is an error."""
        got = json_format.Parse(body, metrics_service.ExportMetricsServiceRequest())
        self.keys.add(key)
        for resource in got.resource_metrics:
            for scope in resource.scope_metrics:
                self.metrics.update({metric.name: metric for metric in scope.metrics})

    def counted(self, name: str) -> float:
        """The sum of a counter, or of a histogram's counts."""
        metric = self.metrics.get(name)
        if metric is None:
            return 0
        if metric.HasField("histogram"):
            return float(sum(point.count for point in metric.histogram.data_points))
        return float(sum(point.as_double for point in metric.sum.data_points))

    def below(self, parent: bytes) -> set[str]:
        """Names of all spans below one."""
        children = [span for span in list(self.spans) if span.parent_span_id == parent]
        return {span.name for span in children}.union(*(self.below(span.span_id) for span in children))


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def test_a_push_is_a_tree_of_spans_and_slow_calls_are_logged(collector: Collector, tmp_path: Path) -> None:
    env = {
        "ENTREPOT_TRACING_ENDPOINT": collector.url,
        "ENTREPOT_LOG_SLOW_QUERY": "0.000001s",
        "ENTREPOT_LOG_SLOW_STORE": "0.000001s",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    pushed = image([{"a": b"x" * 200_000}])
    with running_server(tmp_path, workers=1, env=env) as server:
        wire = Wire(server.port)
        push_image(wire, "team/app", "v1", pushed)
        done = wire(
            "PUT",
            "/v2/team/app/manifests/v2",
            body=pushed.manifest,
            headers={
                "Content-Type": pushed.media_type,
                "traceparent": f"00-{TRACE}-{CALLER}-01",
                "Authorization": "Basic c2VjcmV0OnNlY3JldA==",
            },
        )
        assert done.status == 201, done
        caller = bytes.fromhex(CALLER)
        wait_until(lambda: "PUT request" in collector.below(caller), what="the request's span")
        tree = collector.below(caller)
        log = server.log.read_text()
    assert "catalog.write" in tree
    assert {span.trace_id.hex() for span in collector.spans if span.parent_span_id == caller} == {TRACE}
    stored = {"store.put", "store.commit"}
    wait_until(lambda: stored & {span.name for span in collector.spans}, what="a blob's span")
    assert "c2VjcmV0" not in "".join(map(str, collector.spans))
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    slow = {event["event"]: event for event in events if str(event.get("event")).startswith("slow ")}
    assert set(slow) == {"slow query", "slow store"}
    assert all(event["seconds"] >= 0 and event["what"] and event["call"] for event in slow.values())


def test_figures_reach_a_collector(collector: Collector, tmp_path: Path) -> None:
    env = {
        "ENTREPOT_METRICS_OTLP_ENDPOINT": collector.url,
        "ENTREPOT_METRICS_OTLP_INTERVAL": "1s",
        "OTEL_EXPORTER_OTLP_HEADERS": "X-Key=a%20key",
    }
    with running_server(tmp_path, env=env) as server:
        push_image(Wire(server.port), "team/app", "v1", image([{"a": b"x"}]))
        wait_until(lambda: collector.counted("entrepot_http_requests_total") >= 4, what="the push")
        wait_until(lambda: collector.counted("entrepot_catalog_seconds") >= 4, what="calls")
        wait_until(lambda: "entrepot_part_up" in collector.metrics, what="gauges")
    requests = collector.metrics["entrepot_http_requests_total"].sum
    assert requests.is_monotonic
    attributes = {one.key: one.value.string_value for one in requests.data_points[0].attributes}
    assert set(attributes) == {"method", "route", "status"}
    up = collector.metrics["entrepot_part_up"].gauge.data_points
    assert [point.as_double for point in up] == [1.0] * 2
    assert collector.keys == {"a key"}
