"""The pages put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from litestar import Router
from litestar.di import Provide

from entrepot.server.pages import (
    account,
    admin_audit,
    admin_explain,
    admin_health,
    admin_jobs,
    admin_pull_through,
    admin_roles,
    admin_settings,
    admin_sources,
    admin_storage,
    admin_teams,
    admin_users,
    files,
    home,
    images,
    policies,
    project_people,
    project_settings,
    projects,
    repositories,
    sign_in,
    upstreams,
)
from entrepot.server.pages.kit.form_body import LARGE_FORM_BYTES
from entrepot.server.pages.kit.guard import page_guard
from entrepot.server.pages.kit.problems import PAGE_HANDLERS
from entrepot.server.pages.kit.visit import provide_visit

__all__ = ["PAGES", "pages_router"]

PAGES: Final[Sequence[Any]] = (
    *home.ROUTES,
    *projects.ROUTES,
    *repositories.ROUTES,
    *images.ROUTES,
    *files.ROUTES,
    *sign_in.ROUTES,
    *account.ROUTES,
    *project_people.ROUTES,
    *project_settings.ROUTES,
    *policies.ROUTES,
    *admin_health.ROUTES,
    *admin_storage.ROUTES,
    *admin_jobs.ROUTES,
    *admin_audit.ROUTES,
    *admin_explain.ROUTES,
    *admin_settings.ROUTES,
    *upstreams.ROUTES,
    *admin_users.ROUTES,
    *admin_teams.ROUTES,
    *admin_roles.ROUTES,
    *admin_sources.ROUTES,
    *admin_pull_through.ROUTES,
)


def pages_router() -> Router:
    """The pages, their guard and how they answer errors."""
    return Router(
        "/",
        route_handlers=[*PAGES],
        guards=[page_guard],
        dependencies={"visit": Provide(provide_visit, sync_to_thread=False)},
        exception_handlers=PAGE_HANDLERS,
        request_max_body_size=LARGE_FORM_BYTES,  # read with the page's own limit, which is less for most
    )
