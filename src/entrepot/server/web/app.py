"""Pages and management API as one ASGI application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from litestar import Router
from litestar.di import Provide
from litestar.types import ASGIApp

from entrepot.server.management.app import create_management
from entrepot.server.management.context import Api
from entrepot.server.web import static
from entrepot.server.web.addresses import RepositoryPaths
from entrepot.server.web.formbody import LARGE_FORM_BYTES
from entrepot.server.web.guard import page_guard
from entrepot.server.web.pages import (
    account,
    admin,
    admin_people,
    home,
    images,
    project_people,
    project_settings,
    projects,
    repositories,
    sign_in,
)
from entrepot.server.web.problems import PAGE_HANDLERS
from entrepot.server.web.visit import provide_visit

__all__ = ["PAGES", "create_site"]

PAGES: Final[Sequence[Any]] = (
    *home.ROUTES,
    *projects.ROUTES,
    *repositories.ROUTES,
    *images.ROUTES,
    *sign_in.ROUTES,
    *account.ROUTES,
    *project_people.ROUTES,
    *project_settings.ROUTES,
    *admin.ROUTES,
    *admin_people.ROUTES,
)


def create_site(api: Api) -> ASGIApp:
    """Everything outside of `/v2/`."""
    pages = Router(
        "/",
        route_handlers=[*PAGES],
        guards=[page_guard],
        dependencies={"visit": Provide(provide_visit, sync_to_thread=False)},
        exception_handlers=PAGE_HANDLERS,
        request_max_body_size=LARGE_FORM_BYTES,  # read with the page's own limit, which is less for most
    )
    made = create_management(api, more_routes=[pages, *static.ROUTES], exception_handlers=PAGE_HANDLERS)
    return RepositoryPaths(made)
