"""Teams as admins see them: who is in them, and what they may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response

from entrepot.errors import EntrepotError
from entrepot.server.access.decision.errors import AlreadyExists, InvalidName, Unknown
from entrepot.server.access.decision.model import Action
from entrepot.server.control import teams
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.forms import PageForm, is_confirmed
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]

MOST: Final = 1000


@page("/admin/teams", Action.READ_SYSTEM)
async def list_teams(visit: PageVisit) -> Response[Any]:
    visit.require_accounts()
    return await _teams_page(visit, PageForm())


async def _teams_page(visit: PageVisit, form: PageForm, status: int = 200) -> Response[Any]:
    rows = await teams.list_teams(visit.services, visit.caller, n=MOST)
    return visit.render(
        "admin_teams.html",
        status=status,
        tab="teams",
        rows=rows,
        form=form,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/teams", Action.MANAGE_SYSTEM)
async def add_team(visit: PageVisit) -> Response[Any]:
    visit.require_accounts()
    form = await visit.form()
    name = form.text("name", required="Give it a name, as developers.", longest=64).lower()
    description = form.text("description", longest=300)
    group = form.text("external_group", longest=300)
    if group and ":" not in group:
        form.refuse("external_group", "Write source:group, as corp:developers.")
    if form.is_good:
        try:
            await teams.create_team(
                visit.services,
                visit.caller,
                name=name,
                description=description,
                external_group=group or None,
            )
            return visit.go(addresses.admin("teams", name), f"Team {name} created.")
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name"})
    return await _teams_page(visit, form, 400)


@page("/admin/teams/{team:str}", Action.READ_SYSTEM)
async def team(visit: PageVisit, team: str) -> Response[Any]:
    visit.require_accounts()
    return await _team_page(visit, team, PageForm())


async def _team_page(
    visit: PageVisit,
    name: str,
    joining: PageForm,
    status: int = 200,
    form: PageForm | None = None,
    confirm: PageForm | None = None,
) -> Response[Any]:
    found = await teams.show_team_details(visit.services, visit.caller, name)
    return visit.render(
        "admin_team.html",
        status=status,
        tab="teams",
        team=found.team,
        members=found.members,
        grants=found.grants,
        joining=joining,
        confirm=confirm or PageForm(),
        form=form
        or PageForm(description=found.team.description, external_group=found.team.external_group or ""),
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/teams/{team:str}", Action.MANAGE_SYSTEM)
async def change_one_team(visit: PageVisit, team: str) -> Response[Any]:
    visit.require_accounts()
    form = await visit.form()
    group = form.text("external_group", longest=300)
    if group and ":" not in group:
        form.refuse("external_group", "Write source:group, as corp:developers.")
    if not form.is_good:
        return await _team_page(visit, team, PageForm(), 400, form)
    changes: Mapping[str, str | None] = {
        "description": form.text("description", longest=300),
        "external_group": group or None,
    }
    await teams.change_team(visit.services, visit.caller, team, changes)
    return visit.go(addresses.admin("teams", team), "Saved.")


@submit("/admin/teams/{team:str}/members", Action.MANAGE_SYSTEM)
async def join(visit: PageVisit, team: str) -> Response[Any]:
    visit.require_accounts()
    form = await visit.form()
    name = form.text("name", required="Whom?", longest=255).lower()
    if form.is_good:
        try:
            await teams.add_member(visit.services, visit.caller, team, name)
            return visit.go(addresses.admin("teams", team), f"{name} is in.")
        except Unknown as error:
            form.blame(error, "name")
    return await _team_page(visit, team, form, 400)


@submit("/admin/teams/{team:str}/members/remove", Action.MANAGE_SYSTEM)
async def leave(visit: PageVisit, team: str) -> Response[Any]:
    visit.require_accounts()
    name = (await visit.form()).text("name")
    await teams.remove_member(visit.services, visit.caller, team, name)
    return visit.go(addresses.admin("teams", team), f"{name} is out.")


@submit("/admin/teams/{team:str}/delete", Action.MANAGE_SYSTEM)
async def remove_team(visit: PageVisit, team: str) -> Response[Any]:
    """With its memberships and grants."""
    visit.require_accounts()
    confirm = await visit.form()
    if not is_confirmed(confirm, team):
        return await _team_page(visit, team, PageForm(), 400, confirm=confirm)
    await teams.delete_team(visit.services, visit.caller, team)
    return visit.go("/admin/teams", f"Team {team} is deleted.")


ROUTES = [list_teams, add_team, team, change_one_team, join, leave, remove_team]
