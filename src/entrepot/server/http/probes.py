"""`/healthz`, `/readyz`, `/metrics`: what load balancers, orchestrators and Prometheus ask.

`/healthz`: this process answers. `/readyz`: a balancer should send it requests, since pulls work: the catalog
can be read and the server is not about to stop. A store that is away, a full disk or a damaged catalog are
told in its body and are no reason to take every node out of service: manifests, and blobs that are kept here,
are still served. `/readyz?for=pushes` asks for all of it, for a balancer that has other nodes to choose from.

What the checks said is kept for `CHECK_S`, so that probes cost nothing; a check that takes long is not waited
for beyond `PATIENCE_S`, since who asks takes a slow answer for none: the last one holds meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.control.services import Check
from entrepot.server.http.response import NOSNIFF, Response, number
from entrepot.server.telemetry.metrics import Metrics

log = get_log(__name__)

PULLS_NEED: Final = frozenset({"catalog"})
"""Parts without which nothing at all is served."""
PATIENCE_S: Final = 0.5
"""Half of what Kubernetes gives a probe."""
CHECK_S: Final = 1.0
CHECK_TIMEOUT_S: Final = 5.0
FOR_PUSHES: Final = b"for=pushes"

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
        self._parts = [_Part(name, check) for name, check in checks.items()]
        self._show_metrics = show_metrics

    async def respond(
        self, path: str, method: str = "GET", *, query: bytes = b"", show_metrics: bool | None = None
    ) -> Response | None:
        """The answer; None when `path` is none of ours."""
        if path == "/healthz":
            return _json(200, {"status": "ok"})
        if path == "/readyz":
            return await self._ready(for_pushes=FOR_PUSHES in query.split(b"&"))
        shown = self._show_metrics if show_metrics is None else show_metrics
        if path == "/metrics" and shown:
            body = await asyncio.to_thread(self._metrics.render)
            headers = [_TEXT, NOSNIFF, _NEVER, (b"content-length", number(len(body)))]
            return Response(200, headers, b"" if method == "HEAD" else body)
        return None

    async def _ready(self, *, for_pushes: bool) -> Response:
        if self.draining:
            return _json(503, {"status": "stopping"})
        fields: dict[str, object] = {"status": "ready"}
        problems, reason = await self.problems(), self._read_only()
        if reason is not None:
            fields = {"status": "read-only", "reason": reason}
        elif problems:
            fields = {"status": "degraded"}
        if problems:
            fields["problems"] = problems
        if PULLS_NEED & problems.keys():
            return _json(503, {**fields, "status": "not ready"})
        return _json(503 if for_pushes and fields["status"] != "ready" else 200, fields)

    async def problems(self) -> dict[str, str]:
        """Part → what is wrong with it, as far as is known by now; empty when all is well."""
        looking = [task for task in (part.look() for part in self._parts) if task is not None]
        if looking:
            await asyncio.wait(looking, timeout=PATIENCE_S)
        return {part.name: part.problem for part in self._parts if part.problem}


class _Part:
    """One check, which is never run twice at once, and what it has said last."""

    def __init__(self, name: str, check: Check) -> None:
        self.name = name
        self.problem = "not checked yet"
        self._check = check
        self._checked_at = -1e9
        self._task: asyncio.Task[None] | None = None

    def look(self) -> asyncio.Task[None] | None:
        """The check that is under way, begun now when it is time; None when the last one holds."""
        if self._task is None and time.monotonic() - self._checked_at > CHECK_S:
            self._task = asyncio.create_task(self._run())
        return self._task

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._check()
            self.problem = ""
        except TimeoutError:
            self.problem = f"no answer in {CHECK_TIMEOUT_S:.0f} s"
        except (EntrepotError, OSError) as error:
            self.problem = str(error)
        except Exception as error:
            log.exception("check failed", part=self.name)
            self.problem = f"the check failed: {type(error).__name__}"
        finally:
            self._checked_at = time.monotonic()
            self._task = None


def _json(status: int, fields: dict[str, object]) -> Response:
    body = msgspec.json.encode(fields)
    return Response(status, [_JSON, NOSNIFF, _NEVER, (b"content-length", number(len(body)))], body)
