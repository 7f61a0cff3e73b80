"""Spans: nothing while off, parts of one trace while on."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from entrepot.observability import tracing
from entrepot.observability.tracing import (
    TracingMissing,
    configure_tracing,
    is_tracing,
    server_span,
    shut_down_tracing,
    span,
)
from entrepot.server.compose import prepare_now
from entrepot.server.config.model import Config, ServerSection, TracingSection
from entrepot.server.telemetry.traced import TracedApplication

exporters = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


@pytest.fixture
def spans() -> Iterator[list[object]]:
    exporter = exporters.InMemorySpanExporter()
    configure_tracing("", version="1", exporter=exporter)
    yield exporter
    shut_down_tracing()


def test_off_costs_one_block_that_does_nothing() -> None:
    assert not is_tracing()
    assert span("a") is span("b", x=1)
    with span("a"), server_span("GET", {}):
        pass


def test_a_clients_trace_goes_on_below(spans: object) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with (
        server_span("GET request", {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}),
        span("inner", what="x"),
    ):
        pass
    inner, outer = spans.get_finished_spans()  # type: ignore[attr-defined]
    assert [inner.name, outer.name] == ["inner", "GET request"]
    assert {f"{one.context.trace_id:032x}" for one in (inner, outer)} == {trace}
    assert inner.parent.span_id == outer.context.span_id
    assert inner.attributes == {"what": "x"}


def test_an_error_marks_its_span(spans: object) -> None:
    with pytest.raises(ValueError), span("fails"):
        raise ValueError("INSERT … 'a secret'")
    (failed,) = spans.get_finished_spans()  # type: ignore[attr-defined]
    assert not failed.status.is_ok
    assert "secret" not in failed.to_json(), "messages may quote what was being stored"
    assert failed.attributes["error.type"] == "ValueError"


@pytest.mark.anyio
async def test_requests_are_spans_with_their_status(spans: object) -> None:
    async def application(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v2/a/manifests/x",
        "headers": [(b"host", b"localhost")],
    }
    await TracedApplication(application)(scope, None, send)
    (one,) = spans.get_finished_spans()  # type: ignore[attr-defined]
    assert one.attributes["http.response.status_code"] == 404
    assert one.attributes["url.path"] == "/v2/a/manifests/x"
    assert len(sent) == 2


def test_spans_reach_a_collector() -> None:
    got, arrived = list[str](), threading.Event()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            got.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            arrived.set()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        configure_tracing(f"http://127.0.0.1:{server.server_address[1]}", version="1")
        with span("work"):
            pass
        shut_down_tracing()
        assert arrived.wait(60)
        assert got == ["/v1/traces"]
    finally:
        shut_down_tracing()
        server.shutdown()
        server.server_close()


def test_off_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys, entrepot.server.process.request_process, entrepot.server.process.jobs_process\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_its_libraries_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def no_opentelemetry(name: str, *args: object, **more: object) -> object:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_opentelemetry)
    with pytest.raises(tracing.TracingMissing) as told:
        configure_tracing("http://localhost:1")
    assert "entrepot[server,tracing]" in (told.value.hint or "")


def test_missing_libraries_are_told_before_any_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that end for it would be replaced for ever."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    config = Config(
        server=ServerSection(data=tmp_path), tracing=TracingSection(endpoint="http://c.test:4318")
    )
    with pytest.raises(TracingMissing, match="not installed"):
        prepare_now(config)


def test_a_collector_that_never_answers_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "30")
    monkeypatch.setattr(tracing, "LAST_WORDS_S", 0.2, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        configure_tracing(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with span("last"):
            pass
        stopping = threading.Thread(target=shut_down_tracing, daemon=True)
        stopping.start()
        stopping.join(20)
        assert not stopping.is_alive()
        assert not is_tracing()
