"""Which part answers: `/v2/` and `/v1/` the data plane, the probes, everything else pages and
management API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from entrepot.oci.distribution import ErrorCode
from entrepot.server.http.open_mode_guard import is_registry_api, may_use_pages
from entrepot.server.http.probes import Probes
from entrepot.server.http.refusals import refusal
from entrepot.server.http.request import HttpRequest, Receive, Scope, Send
from entrepot.server.http.response import Response
from entrepot.server.v2.dispatch import V2Application
from entrepot.server.v2.token import TOKEN_PATH, token_endpoint

Site = Callable[[Any, Any, Any], Awaitable[None]]
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class RegistryApp:
    """Behind the registry's listeners. `site` None: nothing but the registry API is served."""

    def __init__(self, v2: V2Application, probes: Probes, site: Site | None) -> None:
        self.v2 = v2
        self._probes = probes
        self._site = site

    async def respond(self, request: HttpRequest) -> Response | None:
        path = request.path
        if is_registry_api(path):
            return await self.v2.respond(request)
        if path == TOKEN_PATH:
            services = self.v2.context.services
            return await token_endpoint(services.access, request, rename=services.pull_through.name_for)
        if path in PROBES:
            request.route = path
            found = await self._probes.respond(path, request.method, query=request.query_string)
            return found or nothing_here()
        # A base address that ends with / makes //v2/; no page has a NUL in its address.
        if self._site is None or path.startswith("//") or "%00" in path:
            return nothing_here()
        return refuse_stored_content(request)

    async def delegate(self, request: HttpRequest, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        assert self._site is not None
        await self._site(scope, receive, send)


class ProbesApp:
    """Behind `metrics.listen`."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes

    async def respond(self, request: HttpRequest) -> Response | None:
        request.route = request.path if request.path in PROBES else ""
        return await _probe(self._probes, request)

    async def delegate(self, request: HttpRequest, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class SiteApp:
    """Behind `admin.listen`: pages, management API and probes, without the data plane."""

    def __init__(self, probes: Probes, site: Site | None) -> None:
        self._probes = probes
        self._site = site

    async def respond(self, request: HttpRequest) -> Response | None:
        if request.path in PROBES:
            request.route = request.path
            return await _probe(self._probes, request)
        return refuse_stored_content(request) if self._site is not None else nothing_here()

    async def delegate(self, request: HttpRequest, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        assert self._site is not None
        await self._site(scope, receive, send)


async def _probe(probes: Probes, request: HttpRequest) -> Response:
    """On an address that is not the registry's own: `/metrics` is always shown there."""
    query = request.query_string
    found = await probes.respond(request.path, request.method, query=query, show_metrics=True)
    return found or nothing_here()


def nothing_here() -> Response:
    return refusal(404, ErrorCode.UNSUPPORTED, "there is nothing here; the registry API is at /v2/")


def refuse_stored_content(request: HttpRequest) -> Response | None:
    """The answer to what a pushed document or another site's page asks of our pages and API; None for the
    rest. Files of the pages themselves hold nothing, and are loaded from caches of all kinds.
    """
    allowed = request.path.startswith("/static/") or may_use_pages(
        host=request.host,
        origin=request.header(b"origin"),
        referer=request.header(b"referer"),
        fetch_site=request.header(b"sec-fetch-site"),
        fetch_mode=request.header(b"sec-fetch-mode"),
        fetch_dest=request.header(b"sec-fetch-dest"),
    )
    if allowed:
        return None
    return refusal(
        403,
        ErrorCode.DENIED,
        "a file kept in the registry, or a page of another site, may not use this address; open it by itself",
    )
