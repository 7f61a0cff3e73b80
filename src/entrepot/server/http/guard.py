"""Before a route's handler runs: who asks, and may they. One guard for the API and the pages.

A route names its action as data (`action=Action.PULL` beside its path); it is asked about the project,
repository and tag in the path. `Asked.NOBODY` marks the few routes that ask nothing; a test holds the table
of all routes. The use case behind the handler asks again, inside its transaction.
"""

from __future__ import annotations

import enum
from typing import Any, Final

from litestar.handlers.base import BaseRouteHandler

from entrepot.server.access.decision.errors import PermitRefused
from entrepot.server.access.decision.model import Action, Resource
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller, Connection, authenticate

__all__ = ["SLASH", "Asked", "ask_policy", "caller_of", "identify", "policy_guard"]

SLASH: Final = "∕"
"""Stands for a slash inside one segment of a path (see `api.app.SlashKeeper`)."""
_CALLER: Final = "entrepot.caller"


class Asked(enum.Enum):
    """In place of an action."""

    NOBODY = "nobody"
    """No question is asked: signing in, the set-up link, the API's description."""
    SIGNED_IN = "signed-in"
    """Somebody has to be there; what they get depends on who they are."""


async def policy_guard(connection: Connection, route_handler: BaseRouteHandler) -> None:
    """Raises InvalidCredentials, InvalidToken, AccessDenied."""
    await identify(connection)
    await ask_policy(connection, route_handler)


async def identify(connection: Connection, *, csrf_token: str | None = None) -> Caller:
    """Whoever calls; see `caller_of`. Slashes come back into the path's parameters."""
    parameters = connection.path_params
    for name, value in parameters.items():
        if isinstance(value, str):
            parameters[name] = value.replace(SLASH, "/")
    services: Services = connection.app.state.services
    caller = await authenticate(services, connection, csrf_token=csrf_token)
    connection.scope[_CALLER] = caller  # type: ignore[typeddict-unknown-key]
    return caller


def caller_of(connection: Connection) -> Caller:
    """Whom `identify` found."""
    caller: Caller = connection.scope[_CALLER]  # type: ignore[typeddict-item]
    return caller


async def ask_policy(connection: Connection, route_handler: BaseRouteHandler) -> None:
    """Ask the route's action of whoever calls. A route without one is refused to everybody.

    Raises PermitRefused.
    """
    action: Any = route_handler.opt.get("action")
    if action is Asked.NOBODY:
        return
    if action is Asked.SIGNED_IN:
        action = Action.MANAGE_SELF
    if not isinstance(action, Action):
        raise PermitRefused("this route has no policy")
    services: Services = connection.app.state.services
    parameters = connection.path_params
    resource = Resource(
        repository=parameters.get("repository"),
        tag=parameters.get("tag"),
        project=parameters.get("project"),
    )
    await services.require(caller_of(connection), action, resource)
