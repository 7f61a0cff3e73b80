"""Pages and management API as one ASGI application, when this installation has them."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.exceptions import HTTPException, LitestarDeprecationWarning

from entrepot.errors import EntrepotError
from entrepot.server.api.app import BODY_BYTES, PREFIX, SlashKeeper, api_description, api_router
from entrepot.server.api.problems import HANDLERS
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller
from entrepot.server.http.guard import caller_of
from entrepot.server.http.uncached import forget_requests
from entrepot.server.pages.app import pages_router
from entrepot.server.pages.kit import static
from entrepot.server.pages.kit.addresses import RepositoryPaths
from entrepot.server.pages.kit.problems import PAGE_HANDLERS
from entrepot.server.process.app import Site

__all__ = ["create_site", "open_site"]


@asynccontextmanager
async def open_site(services: Services) -> AsyncIterator[Site | None]:
    """The ASGI application for everything outside of the registry API; None when it is switched off."""
    yield create_site(services) if services.config.admin.enabled else None


def create_site(services: Services) -> Site:
    """Everything outside of `/v2/`."""

    def provide_services() -> Services:
        return services

    def provide_caller(request: Request[Any, Any, Any]) -> Caller:
        return caller_of(request)

    forget_requests()
    with warnings.catch_warnings():
        # Parameters are declared in the style every Litestar 2 understands; its next one has another.
        warnings.simplefilter("ignore", LitestarDeprecationWarning)
        app = Litestar(
            route_handlers=[api_router(), pages_router(), *static.ROUTES],
            dependencies={
                "services": Provide(provide_services, sync_to_thread=False),
                "caller": Provide(provide_caller, sync_to_thread=False),
            },
            openapi_config=api_description(),
            exception_handlers={kind: _by_face(kind) for kind in (EntrepotError, HTTPException, Exception)},
            request_max_body_size=BODY_BYTES,
            debug=False,
            logging_config=None,
        )
    app.state.services = services
    return RepositoryPaths(SlashKeeper(app))


def _by_face(kind: type[Exception]) -> Callable[[Request[Any, Any, Any], Any], Response[Any]]:
    """Who answers for an address that is no route."""

    def answer(request: Request[Any, Any, Any], error: Any) -> Response[Any]:
        handlers = HANDLERS if str(request.scope["path"]).startswith(f"{PREFIX}/") else PAGE_HANDLERS
        found: Response[Any] = handlers[kind](request, error)
        return found

    return answer
