"""Traces for OpenTelemetry: off, and free of charge, until they are configured.

    with span("catalog.write", function="put"):
        …

Off, `span` is one comparison and a block that does nothing. On, spans go to a collector over OTLP/HTTP in
batches, from a thread; a collector that is away costs spans, never requests. The libraries are the extra
`entrepot[tracing]` and are imported only then. What `OTEL_…` variables say (headers, resource, limits) holds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, Final

from entrepot.errors import InvalidInput

__all__ = [
    "TracingMissing",
    "configure_tracing",
    "is_tracing",
    "mark_failed",
    "require_tracing",
    "server_span",
    "shut_down_tracing",
    "span",
]

LAST_WORDS_S: Final = 5.0
"""For the last spans of a process that ends."""
_NOTHING: Final = nullcontext()
_tracer: Any = None
_provider: Any = None


class TracingMissing(InvalidInput):
    """Tracing is asked for, but its libraries are not installed."""

    code: ClassVar[str] = "tracing-missing"


def is_tracing() -> bool:
    return _tracer is not None


def require_tracing() -> None:
    """Raises TracingMissing when the libraries are not there."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401  # asked for, not used
    except ImportError as error:
        raise TracingMissing(
            "tracing.endpoint is set, but OpenTelemetry is not installed",
            hint="install it with: pip install 'entrepot[server,tracing]'",
        ) from error


def configure_tracing(endpoint: str, *, version: str = "", sample: float = 1.0, exporter: Any = None) -> None:
    """Send spans of this process to `endpoint` (`http://collector:4318`). Call it after a fork, not before.

    `sample` is the share of traces that are begun here; those that a client has begun follow its decision.
    Raises TracingMissing.
    """
    global _tracer, _provider
    require_tracing()
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    provider = TracerProvider(
        resource=Resource.create({"service.name": "entrepot", "service.version": version}),
        sampler=ParentBased(TraceIdRatioBased(sample)),
    )
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        target = f"{endpoint.rstrip('/')}/v1/traces"
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=target)))
    _provider, _tracer = provider, provider.get_tracer("entrepot", version)


def shut_down_tracing() -> None:
    """Send what is left, and be off again. A collector that does not answer is waited for a little."""
    global _tracer, _provider
    provider, _tracer, _provider = _provider, None, None
    if provider is not None:
        # The library's own time limits don't hold for a request under way: it takes up to 45 seconds.
        ending = threading.Thread(target=provider.shutdown, name="tracing-ends", daemon=True)
        ending.start()
        ending.join(LAST_WORDS_S)


def span(name: str, /, **attributes: str | int | float | bool) -> AbstractContextManager[Any]:
    """A part of what is going on in this task or thread. An exception that leaves it marks it as failed."""
    if _tracer is None:
        return _NOTHING
    return _started(name, attributes=attributes)


@contextmanager
def server_span(name: str, headers: Mapping[str, str], **attributes: str | int) -> Iterator[Any]:
    """A request that came in; a caller's `traceparent` makes it a part of the caller's trace."""
    if _tracer is None:
        yield None
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(carrier=dict(headers))
    with _started(name, context=context, kind=SpanKind.SERVER, attributes=attributes) as current:
        yield current


@contextmanager
def _started(name: str, **more: Any) -> Iterator[Any]:
    """Of an exception only its kind is told: messages and traces may quote what was being stored."""
    quiet = {"record_exception": False, "set_status_on_exception": False}
    with _tracer.start_as_current_span(name, **more, **quiet) as current:
        try:
            yield current
        except BaseException as error:
            mark_failed(current, type(error).__name__)
            raise


def mark_failed(current: Any, reason: str) -> None:
    """Say on a span that what it is about failed."""
    from opentelemetry.trace import Status, StatusCode

    current.set_status(Status(StatusCode.ERROR, reason))
    current.set_attribute("error.type", reason)
