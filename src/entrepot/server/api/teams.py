"""`/teams`: named groups that hold grants, and who is in them."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response

from entrepot.server.access.decision.model import Action
from entrepot.server.api.headers import etag, expected_number
from entrepot.server.api.paging import DEFAULT_N, Last, N, Page, paged
from entrepot.server.api.route import delete, get, patch, post, put
from entrepot.server.api.schemas import MemberView, NewTeam, TeamChange, TeamView, at, given
from entrepot.server.api.views import team_view
from entrepot.server.control import teams
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller
from entrepot.server.http.guard import Asked

__all__ = ["ROUTES"]


@get("/teams", Asked.SIGNED_IN, "List teams", tags=["teams"])
async def list_all_teams(
    services: Services, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[TeamView]]:
    """One's own, those that work in the same projects, and all for whoever gives roles in some project."""
    found = await teams.list_teams(services, caller, last=last, n=n + 1)
    return paged(request, [team_view(t) for t in found], n, lambda view: view.name)


@post("/teams", Action.MANAGE_SYSTEM, "Make a team", tags=["teams"])
async def make_team(services: Services, caller: Caller, data: NewTeam) -> TeamView:
    made = await teams.create_team(
        services, caller, name=data.name, description=data.description, external_group=data.external_group
    )
    return team_view(made)


@get("/teams/{team:str}", Asked.SIGNED_IN, "Show a team", tags=["teams"])
async def show_team(services: Services, caller: Caller, team: str) -> Response[TeamView]:
    found = await teams.show_team(services, caller, team)
    return Response(team_view(found), headers=etag(found.version))


@patch("/teams/{team:str}", Action.MANAGE_SYSTEM, "Change a team", tags=["teams"])
async def change_one_team(
    services: Services, caller: Caller, request: Request[Any, Any, Any], team: str, data: TeamChange
) -> Response[TeamView]:
    """Honours If-Match."""
    found = await teams.change_team(
        services, caller, team, given(data), expected_version=expected_number(request)
    )
    return Response(team_view(found), headers=etag(found.version))


@delete("/teams/{team:str}", Action.MANAGE_SYSTEM, "Delete a team", tags=["teams"])
async def remove_team(services: Services, caller: Caller, team: str) -> None:
    await teams.delete_team(services, caller, team)


@get("/teams/{team:str}/members", Asked.SIGNED_IN, "List a team's members", tags=["teams"])
async def members_of_team(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    team: str,
    n: N = DEFAULT_N,
    last: Last = "",
) -> Response[Page[MemberView]]:
    """Of one's own teams and those that work in the same projects."""
    found = await teams.list_members(services, caller, team, last=last, n=n + 1)
    views = [MemberView(name=m.name, kind=m.kind, source=m.source, added_at=at(m.added_at)) for m in found]
    return paged(request, views, n, lambda view: view.name)


@put(
    "/teams/{team:str}/members/{member:str}",
    Action.MANAGE_SYSTEM,
    "Add a member",
    tags=["teams"],
    status_code=204,
)
async def add_team_member(services: Services, caller: Caller, team: str, member: str) -> None:
    await teams.add_member(services, caller, team, member)


@delete("/teams/{team:str}/members/{member:str}", Action.MANAGE_SYSTEM, "Remove a member", tags=["teams"])
async def remove_team_member(services: Services, caller: Caller, team: str, member: str) -> None:
    await teams.remove_member(services, caller, team, member)


ROUTES = [
    list_all_teams,
    make_team,
    show_team,
    change_one_team,
    remove_team,
    members_of_team,
    add_team_member,
    remove_team_member,
]
