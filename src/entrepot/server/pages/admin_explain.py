"""Why may, or may not, somebody do something."""

from __future__ import annotations

from typing import Any

from litestar import Response

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.errors import Unknown
from entrepot.server.access.decision.model import Action
from entrepot.server.control.explain import explain, parse_target
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.route import page
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]


@page("/admin/explain", Action.READ_SYSTEM)
async def explain_page(visit: PageVisit) -> Response[Any]:
    form = PageForm(user=visit.query("user"), action=visit.query("action") or "pull", on=visit.query("on"))
    found = None
    if form["user"]:
        target = parse_target(form["on"])
        try:
            found = await explain(visit.services, visit.caller, form["user"].lower(), form["action"], target)
        except Unknown as error:
            form.blame(error, "user")
        except InvalidInput as error:
            form.blame(error, "action")
    return visit.render(
        "admin_explain.html",
        status=400 if form.errors else 200,
        tab="explain",
        form=form,
        found=found,
        actions=[action.value for action in Action],
    )


ROUTES = [explain_page]
