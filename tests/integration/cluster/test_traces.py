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
pytestmark = pytest.mark.timeout(180)

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Collector:
    """Keeps all spans that come in."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                got = service.ExportTraceServiceRequest.FromString(body)
                for resource in got.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
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
