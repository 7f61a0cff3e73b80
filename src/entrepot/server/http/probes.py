"""`/healthz`, `/readyz`, `/metrics`: what load balancers, orchestrators and Prometheus ask.

`/healthz`: this process answers. `/readyz`: it should get work: the catalog and the store can be used and the
server is not about to stop. The answer of the checks is kept for `CHECK_S`, so that probes cost nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from entrepot.errors import EntrepotError
from entrepot.server.control.services import Check
from entrepot.server.http.response import NOSNIFF, Response, number
from entrepot.server.telemetry.metrics import Metrics

CHECK_S: Final = 1.0
CHECK_TIMEOUT_S: Final = 5.0


_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_JSON = (b"content-type", b"application/json")
_NEVER = (b"cache-control", b"no-store")


class Probes:
    """`checks` raise EntrepotError or OSError when their part cannot be used."""

    def __init__(
        self,
        metrics: Metrics,
        checks: Mapping[str, Check],
        *,
        show_metrics: bool = True,
        read_only: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`read_only` tells why nothing can be changed: that is no reason to send pulls elsewhere."""
        self.draining = False
        self._read_only = read_only
        self._metrics = metrics
        self._checks = checks
        self._show_metrics = show_metrics
        self._problems: dict[str, str] = {}
        self._checked_at = -1e9
        self._lock = asyncio.Lock()

    async def respond(
        self, path: str, method: str = "GET", *, show_metrics: bool | None = None
    ) -> Response | None:
        """The answer; None when `path` is none of ours."""
        if path == "/healthz":
            return _json(200, {"status": "ok"})
        if path == "/readyz":
            return await self._ready()
        shown = self._show_metrics if show_metrics is None else show_metrics
        if path == "/metrics" and shown:
            body = await asyncio.to_thread(self._metrics.render)
            headers = [_TEXT, NOSNIFF, _NEVER, (b"content-length", number(len(body)))]
            return Response(200, headers, b"" if method == "HEAD" else body)
        return None

    async def _ready(self) -> Response:
        if self.draining:
            return _json(503, {"status": "stopping"})
        problems = await self.problems()
        if problems:
            return _json(503, {"status": "not ready", "problems": problems})
        reason = self._read_only()
        if reason is not None:
            return _json(200, {"status": "read-only", "reason": reason})
        return _json(200, {"status": "ready"})

    async def problems(self) -> dict[str, str]:
        """Part → what is wrong with it; empty when all is well."""
        async with self._lock:
            if time.monotonic() - self._checked_at > CHECK_S:
                self._problems = await self._check_all()
                self._checked_at = time.monotonic()
        return self._problems

    async def _check_all(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, check in self._checks.items():
            try:
                async with asyncio.timeout(CHECK_TIMEOUT_S):
                    await check()
            except TimeoutError:
                found[name] = f"no answer in {CHECK_TIMEOUT_S:.0f} s"
            except (EntrepotError, OSError) as error:
                found[name] = str(error)
        return found


def _json(status: int, fields: dict[str, object]) -> Response:
    body = msgspec.json.encode(fields)
    return Response(status, [_JSON, NOSNIFF, _NEVER, (b"content-length", number(len(body)))], body)
