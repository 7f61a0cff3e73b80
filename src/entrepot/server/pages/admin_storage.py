"""Where the bytes are, and what of it can still be brought back."""

from __future__ import annotations

from typing import Any

from litestar import Response

from entrepot.server.access.decision.model import Action
from entrepot.server.control import projects
from entrepot.server.control.storage import show_storage
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]


@page("/admin/storage", Action.READ_SYSTEM)
async def storage(visit: PageVisit) -> Response[Any]:
    figures, gone = await show_storage(visit.services, visit.caller)
    return visit.render(
        "admin_storage.html",
        tab="storage",
        figures=figures,
        gone=gone,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
        window_days=round(visit.services.config.gc.undo_window / 86400, 1),
    )


@submit("/admin/restore-project", Action.MANAGE_SYSTEM)
async def bring_back(visit: PageVisit) -> Response[Any]:
    """A deleted project, with the repositories that went with it."""
    name = (await visit.form()).text("project", required="Which one?", longest=128)
    await projects.restore_project(visit.services, visit.caller, name)
    return visit.go(addresses.project(name), f"Project {name} is back.")


ROUTES = [storage, bring_back]
