"""Notifications of a Docker Registry: its pushes and deletes make its repositories appear in our search.

The registry sends `application/vnd.docker.distribution.events.v2+json` with the secret of a robot of ours as
its bearer token (`notifications.endpoints.headers.Authorization`).
"""

from __future__ import annotations

from typing import Any, Final

from litestar import Request

from entrepot.server.access.decision.model import Action
from entrepot.server.api.route import post
from entrepot.server.control import upstreams
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller

__all__ = ["ROUTES"]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024


@post(
    "/upstreams/{registry:str}/events",
    Action.MANAGE_UPSTREAMS,
    "Take notifications of a Docker Registry",
    tags=["upstreams"],
    status_code=204,
    request_max_body_size=MAX_BODY_BYTES,
)
async def events(services: Services, caller: Caller, request: Request[Any, Any, Any], registry: str) -> None:
    """The body is a distribution notification envelope."""
    await upstreams.take_events(services, caller, registry, await request.body())


ROUTES = [events]
