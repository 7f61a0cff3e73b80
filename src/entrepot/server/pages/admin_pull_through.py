"""Upstreams as admins see them: what they last answered, what is left of a budget, what clients write."""

from __future__ import annotations

from typing import Any

from litestar import Response

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.access.decision.errors import AlreadyExists, InvalidName
from entrepot.server.access.decision.model import Action
from entrepot.server.control import pull_through
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]


@page("/admin/pull-through", Action.READ_SYSTEM)
async def list_upstreams(visit: PageVisit) -> Response[Any]:
    return await _upstreams_page(visit, PageForm())


async def _upstreams_page(visit: PageVisit, form: PageForm, status: int = 200) -> Response[Any]:
    rows = await pull_through.list_upstreams(visit.services, visit.caller)
    shown = visit.query("snippets")
    snippets = None
    if any(row.upstream.project == shown for row in rows):
        snippets = await pull_through.show_snippets(
            visit.services, visit.caller, shown, base_url=visit.caller.base_url
        )
    return visit.render(
        "admin_pull_through.html",
        status=status,
        tab="pull-through",
        rows=rows,
        shown=shown,
        snippets=snippets,
        form=form,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/pull-through", Action.MANAGE_SYSTEM)
async def add_one_upstream(visit: PageVisit) -> Response[Any]:
    form = await visit.form()
    name = form.text("name", required="Give the project a name, as hub.", longest=64).lower()
    url = form.text("url", required="Where is it? As docker.io or https://ghcr.io.", longest=500)
    username = form.text("username", longest=255)
    password = form["password"][:4096]
    if form.is_good:
        try:
            await pull_through.add_upstream(
                visit.services,
                visit.caller,
                name=name,
                url=url,
                username=username or None,
                password=password or None,
                inside=form.flag("inside"),
                whole=form.flag("whole"),
            )
            return visit.go(f"/admin/pull-through?snippets={name}", f"{name} pulls through {url} now.")
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name", InvalidInput: "url"})
    return await _upstreams_page(visit, form, 400)


@submit("/admin/pull-through/{project:str}/remove", Action.MANAGE_SYSTEM)
async def remove_one_upstream(visit: PageVisit, project: str) -> Response[Any]:
    await pull_through.remove_upstream(visit.services, visit.caller, project)
    return visit.go("/admin/pull-through", f"{project} fetches nothing any more; what is in it stays.")


ROUTES = [list_upstreams, add_one_upstream, remove_one_upstream]
