"""`/roles`: named sets of actions, built in or made by an admin."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response

from entrepot.server.access.decision.model import Action
from entrepot.server.api.headers import etag, expected_number
from entrepot.server.api.route import delete, get, patch, post
from entrepot.server.api.schemas import NewRole, RoleChange, RoleView, given
from entrepot.server.api.views import role_view
from entrepot.server.control import roles
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller
from entrepot.server.http.guard import Asked

__all__ = ["ROUTES"]


@get("/roles", Asked.SIGNED_IN, "List roles", tags=["roles"])
async def list_all_roles(services: Services, caller: Caller) -> list[RoleView]:
    return [role_view(role) for role in await roles.list_roles(services, caller)]


@post("/roles", Action.MANAGE_SYSTEM, "Make a custom role", tags=["roles"])
async def make_role(services: Services, caller: Caller, data: NewRole) -> RoleView:
    made = await roles.create_role(
        services, caller, name=data.name, actions=data.actions, description=data.description
    )
    return role_view(made)


@get("/roles/{role:str}", Asked.SIGNED_IN, "Show a role", tags=["roles"])
async def show_role(services: Services, caller: Caller, role: str) -> Response[RoleView]:
    found = await roles.show_role(services, caller, role)
    return Response(role_view(found), headers=etag(found.version))


@patch("/roles/{role:str}", Action.MANAGE_SYSTEM, "Change a custom role", tags=["roles"])
async def change_one_role(
    services: Services, caller: Caller, request: Request[Any, Any, Any], role: str, data: RoleChange
) -> Response[RoleView]:
    """Holds from the next request on. Honours If-Match."""
    found = await roles.change_role(
        services, caller, role, **given(data), expected_version=expected_number(request)
    )
    return Response(role_view(found), headers=etag(found.version))


@delete("/roles/{role:str}", Action.MANAGE_SYSTEM, "Delete a custom role", tags=["roles"])
async def remove_role(services: Services, caller: Caller, role: str) -> None:
    await roles.delete_role(services, caller, role)


ROUTES = [list_all_roles, make_role, show_role, change_one_role, remove_role]
