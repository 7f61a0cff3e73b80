"""`GET /v2/`: is this a registry, and are my credentials good (distribution-spec, "Determining Support")."""

from __future__ import annotations

from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import Response, json_response
from entrepot.server.v2.context import V2Context


async def ping(_context: V2Context, _request: HttpRequest) -> Response:
    return json_response(200, b"{}")


async def ping_v1(_context: V2Context, _request: HttpRequest) -> Response:
    """docker asks this before it searches; the header says that this registry is not the public one."""
    return json_response(200, b"true", (b"x-docker-registry-standalone", b"true"))
