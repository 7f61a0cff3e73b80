"""One span a request, around an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from entrepot.observability.tracing import mark_failed, server_span

__all__ = ["TracedApplication"]

Application = Callable[[Any, Any, Any], Awaitable[None]]


class TracedApplication:
    """`inner` with spans. Only used when tracing is on."""

    def __init__(self, inner: Application) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        method, path = str(scope["method"]), str(scope["path"])
        attributes = {"http.request.method": method, "url.path": path[:500]}
        with server_span(f"{method} request", headers, **attributes) as current:

            async def watched(message: Any) -> None:
                if current is not None and message["type"] == "http.response.start":
                    status = int(message["status"])
                    current.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        mark_failed(current, str(status))
                await send(message)

            await self._inner(scope, receive, watched)
