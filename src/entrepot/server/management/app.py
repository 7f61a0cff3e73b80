"""The management API put together: one Litestar application below `/api/v1`.

Repository names are one segment of a path: `%2F` in the raw path becomes `∕` (a letter no name can hold)
before routing, and a slash again before the policy or a handler sees it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from litestar import Litestar, Request, Response, Router
from litestar.di import Provide
from litestar.exceptions import LitestarDeprecationWarning
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from entrepot.server.management import (
    account_routes,
    project_routes,
    repository_routes,
    sign_in,
    system_routes,
    upstream,
)
from entrepot.server.management.context import SLASH, Api, Caller, policy_guard
from entrepot.server.management.examples import DescriptionWithExamples
from entrepot.server.management.problems import HANDLERS
from entrepot.server.management.uncached import forget_requests
from entrepot.server.management.version import VERSION

__all__ = ["PREFIX", "ROUTES", "SlashKeeper", "create_management"]

PREFIX: Final = "/api/v1"
BODY_BYTES: Final = 64 * 1024
"""Of a request, unless its route takes more; it is read after the policy was asked."""

ROUTES: Final[Sequence[Any]] = (
    *system_routes.ROUTES,
    *sign_in.ROUTES,
    *project_routes.ROUTES,
    *repository_routes.ROUTES,
    *account_routes.ROUTES,
    *upstream.ROUTES,
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


def _caller(request: Request[Any, Any, Any]) -> Caller:
    caller: Caller = request.scope["entrepot.caller"]  # type: ignore[typeddict-item]
    return caller


async def _not_to_be_kept(response: Response[Any]) -> Response[Any]:
    """What a caller may see is theirs: no cache on the way keeps it, as a cookie alone would not tell it."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def create_management(
    api: Api,
    *,
    more_routes: Sequence[Any] = (),
    exception_handlers: Mapping[Any, Any] = HANDLERS,
) -> SlashKeeper:
    """The application. `more_routes` are pages of the site, beside the API; `exception_handlers` answer for
    addresses that are no route.
    """

    def provide_api() -> Api:
        return api

    forget_requests()
    with warnings.catch_warnings():
        # Parameters are declared in the style every Litestar 2 understands; its next one has another.
        warnings.simplefilter("ignore", LitestarDeprecationWarning)
        return SlashKeeper(_application(api, provide_api, more_routes, exception_handlers))


def _application(
    api: Api,
    provide_api: Callable[[], Api],
    more_routes: Sequence[Any],
    exception_handlers: Mapping[Any, Any],
) -> Litestar:
    router = Router(
        PREFIX,
        route_handlers=list(ROUTES),
        guards=[policy_guard],
        exception_handlers=HANDLERS,
        after_request=_not_to_be_kept,
    )
    app = Litestar(
        route_handlers=[router, *more_routes],
        dependencies={
            "api": Provide(provide_api, sync_to_thread=False),
            "caller": Provide(_caller, sync_to_thread=False),
        },
        openapi_config=OpenAPIConfig(
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
        ),
        exception_handlers=dict(exception_handlers),
        request_max_body_size=BODY_BYTES,
        debug=False,
        logging_config=None,
    )
    app.state.api = api
    return app
