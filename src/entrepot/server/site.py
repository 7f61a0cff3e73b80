"""Pages and management API, when this installation has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from entrepot.server.app import Site
from entrepot.server.compose import Services


@asynccontextmanager
async def open_site(services: Services) -> AsyncIterator[Site | None]:
    """The ASGI application for everything outside of the registry API; None when it is switched off."""
    if not services.config.admin.enabled:
        yield None
        return
    yield None
