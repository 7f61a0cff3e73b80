"""Figures sent to an OpenTelemetry collector, for those who don't scrape `/metrics`: OTLP over HTTP, as JSON.

Off unless `metrics.otlp_endpoint` is set. A server's jobs process sends for all of its processes. A collector
that is away costs figures, never requests: the next ones tell the same sums.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec
import urllib3

from entrepot.observability.logs import get_log
from entrepot.server.telemetry.metrics import DURATION_BUCKETS_S, Merged, Metrics

__all__ = ["OtlpMetrics", "as_otlp"]

log = get_log(__name__)

TIMEOUT_S: Final = 10.0
_CUMULATIVE: Final = 2


class OtlpMetrics:
    """Sends all figures now and then."""

    def __init__(self, metrics: Metrics, endpoint: str, *, every_s: float, version: str) -> None:
        self._metrics = metrics
        self._url = f"{endpoint.rstrip('/')}/v1/metrics"
        self._every_s = every_s
        self._resource = {
            "service.name": "entrepot",
            "service.version": version,
            "service.instance.id": f"{socket.gethostname()}-{os.getppid()}",
        }
        self._headers = {"Content-Type": "application/json", **_headers_of(os.environ)}
        self._pool = urllib3.PoolManager(num_pools=1, retries=False, timeout=TIMEOUT_S)
        self._works = True

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, and once more then."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._every_s)
            await asyncio.to_thread(self._send)

    def _send(self) -> None:
        document = as_otlp(
            self._metrics.merged(),
            resource=self._resource,
            began_ns=int(self._metrics.began_at() * 1e9),
            now_ns=time.time_ns(),
        )
        body = msgspec.json.encode(document)
        try:
            status = self._pool.request("POST", self._url, body=body, headers=self._headers).status
            reason = "" if status < 300 else f"it answered {status}"
        except urllib3.exceptions.HTTPError as error:
            reason = type(error).__name__
        if reason and self._works:
            log.warning("figures not sent", reason=reason)
        self._works = not reason


def as_otlp(merged: Merged, *, resource: Mapping[str, str], began_ns: int, now_ns: int) -> dict[str, Any]:
    """The body of one request. Pure. OpenTelemetry Protocol: JSON Protobuf Encoding."""
    when = {"startTimeUnixNano": str(began_ns), "timeUnixNano": str(now_ns)}
    metrics = []
    for name, (kind, text, labels, cells) in sorted(merged.items()):
        points = [
            {"attributes": _attributes(dict(zip(labels, key, strict=True))), **when, **_value(kind, value)}
            for key, value in sorted(cells.items())
        ]
        metrics.append({"name": name, "description": text, **_data(kind, points)})
    scope = {"scope": {"name": "entrepot"}, "metrics": metrics}
    return {"resourceMetrics": [{"resource": {"attributes": _attributes(resource)}, "scopeMetrics": [scope]}]}


def _data(kind: str, points: list[dict[str, Any]]) -> dict[str, Any]:
    if kind == "gauge":
        return {"gauge": {"dataPoints": points}}
    if kind == "counter":
        sums = {"aggregationTemporality": _CUMULATIVE, "isMonotonic": True, "dataPoints": points}
        return {"sum": sums}
    return {"unit": "s", "histogram": {"aggregationTemporality": _CUMULATIVE, "dataPoints": points}}


def _value(kind: str, value: Any) -> dict[str, Any]:
    if kind != "histogram":
        return {"asDouble": float(value)}
    *buckets, total = value
    return {
        "count": str(int(sum(buckets))),
        "sum": float(total),
        "bucketCounts": [str(int(number)) for number in buckets],
        "explicitBounds": list(DURATION_BUCKETS_S),
    }


def _attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def _headers_of(env: Mapping[str, str]) -> dict[str, str]:
    """What OpenTelemetry's variables say is sent along, such as a key of the collector's."""
    text = env.get("OTEL_EXPORTER_OTLP_METRICS_HEADERS") or env.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    pairs = [pair.partition("=") for pair in text.split(",") if "=" in pair]
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}
