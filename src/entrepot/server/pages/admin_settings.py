"""What admins decide while the registry runs."""

from __future__ import annotations

from typing import Any

from litestar import Response

from entrepot.server.access.decision.model import Action
from entrepot.server.control import settings
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]


@page("/admin/settings", Action.READ_SYSTEM)
async def show(visit: PageVisit) -> Response[Any]:
    found = await settings.show_settings(visit.services, visit.caller)
    form = PageForm(project_creation=found.project_creation, read_only="yes" if found.read_only else "")
    return visit.render(
        "admin_settings.html",
        tab="settings",
        form=form,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/settings", Action.MANAGE_SYSTEM)
async def change(visit: PageVisit) -> Response[Any]:
    """They hold from the next request on."""
    form = await visit.form()
    creation, read_only = form.choice("project_creation", ("admins", "signed-in")), form.flag("read_only")
    if not form.is_good:
        return visit.render("admin_settings.html", status=400, tab="settings", form=form, may_manage=True)
    await settings.change_settings(
        visit.services, visit.caller, project_creation=creation, read_only=read_only
    )
    return visit.go("/admin/settings", "Saved.")


ROUTES = [show, change]
