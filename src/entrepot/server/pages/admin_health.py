"""Is everything well."""

from __future__ import annotations

from typing import Any

from litestar import Response

from entrepot.server.access.decision.model import Action
from entrepot.server.control.health import show_health
from entrepot.server.pages.kit.route import page
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]


@page("/admin", Action.READ_SYSTEM)
async def health(visit: PageVisit) -> Response[Any]:
    found = await show_health(visit.services, visit.caller)
    return visit.render(
        "admin_health.html",
        tab="health",
        parts=found.parts,
        is_read_only=found.is_read_only,
        state=found.state,
        mode=visit.services.mode,
        dialect=visit.services.catalog.dialect,
        config=visit.services.config,
    )


ROUTES = [health]
