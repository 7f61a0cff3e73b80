"""Pages and management API, when this installation has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from entrepot.server.app import Site
from entrepot.server.compose import Services, access_settings
from entrepot.server.management.context import Api
from entrepot.server.repos.uploads.arrivals import Arrivals
from entrepot.server.web.app import create_site


@asynccontextmanager
async def open_site(services: Services) -> AsyncIterator[Site | None]:
    """The ASGI application for everything outside of the registry API; None when it is switched off."""
    if not services.config.admin.enabled:
        yield None
        return
    yield create_site(management_api(services))


def management_api(services: Services) -> Api:
    """What the API and the pages work with."""
    return Api(
        config=services.config,
        catalog=services.catalog,
        access=services.access,
        manifests=services.manifests,
        blobs=services.blobs,
        repositories=services.repositories,
        under_way=Arrivals(services.catalog, services.store),
        seal_file=access_settings(services.config).seal_file,
        checks=services.checks(),
    )
