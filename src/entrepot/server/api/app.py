"""The management API put together: one Litestar application below `/api/v1`.

Repository names are one segment of a path: `%2F` in the raw path becomes `∕` (a letter no name can hold)
before routing, and a slash again before the policy or a handler sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from litestar import Response, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from entrepot.server.api import (
    account,
    events,
    files,
    notifications,
    policies,
    projects,
    pull_through,
    repositories,
    robots,
    roles,
    sign_in,
    system,
    teams,
    users,
)
from entrepot.server.api.examples import DescriptionWithExamples
from entrepot.server.api.problems import HANDLERS
from entrepot.server.config.version import VERSION
from entrepot.server.http.guard import SLASH, policy_guard

__all__ = ["BODY_BYTES", "PREFIX", "ROUTES", "SlashKeeper", "api_description", "api_router"]

PREFIX: Final = "/api/v1"
BODY_BYTES: Final = 64 * 1024
"""Of a request, unless its route takes more; it is read after the policy was asked."""

ROUTES: Final[Sequence[Any]] = (
    *system.ROUTES,
    *sign_in.ROUTES,
    *projects.ROUTES,
    *repositories.ROUTES,
    *files.ROUTES,
    *users.ROUTES,
    *robots.ROUTES,
    *teams.ROUTES,
    *roles.ROUTES,
    *account.ROUTES,
    *notifications.ROUTES,
    *pull_through.ROUTES,
    *policies.ROUTES,
    *events.ROUTES,
)


class SlashKeeper:
    """ASGI: routes on the raw path, so that an encoded slash stays inside its segment."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = scope.get("raw_path", b"")
        if b"%2" in raw:
            kept = raw.replace(b"%2F", SLASH.encode()).replace(b"%2f", SLASH.encode())
            path = unquote_to_bytes(kept).decode("utf-8", "replace")
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)


async def _not_to_be_kept(response: Response[Any]) -> Response[Any]:
    """What a caller may see is theirs: no cache on the way keeps it, as a cookie alone would not tell it."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def api_router() -> Router:
    """The routes of the API, their guard and how they answer errors."""
    return Router(
        PREFIX,
        route_handlers=list(ROUTES),
        guards=[policy_guard],
        exception_handlers=HANDLERS,
        after_request=_not_to_be_kept,
    )


def api_description() -> OpenAPIConfig:
    """Where and how the API describes itself."""
    return OpenAPIConfig(
        title="entrepot",
        version=VERSION,
        description="Projects, grants, accounts, repositories and their history.",
        path=f"{PREFIX}/schema",
        render_plugins=[DescriptionWithExamples(path="/openapi.json")],
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                "basic": SecurityScheme(
                    type="http", scheme="basic", description="Name and password or token."
                ),
                "token": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="A personal access token or a robot's secret.",
                ),
            }
        ),
        security=[{"basic": []}, {"token": []}],
    )
