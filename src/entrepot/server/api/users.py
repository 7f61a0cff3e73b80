"""`/users`: users as admins see them."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response

from entrepot.server.access.decision.model import Action, SystemRole
from entrepot.server.api.headers import etag, expected_number
from entrepot.server.api.paging import DEFAULT_N, Last, N, Page, paged
from entrepot.server.api.route import delete, get, patch, post
from entrepot.server.api.schemas import AccountView, NewUser, SetupLink, TokenView, UserChange, given
from entrepot.server.api.views import account_view, token_view
from entrepot.server.control import tokens, users
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller

__all__ = ["ROUTES"]


@get("/users", Action.READ_SYSTEM, "List users", tags=["users"])
async def list_users(
    services: Services, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[AccountView]]:
    found = await users.list_users(services, caller, last=last, n=n + 1)
    return paged(request, [account_view(a) for a in found], n, lambda view: view.name)


@post("/users", Action.MANAGE_SYSTEM, "Make a user", tags=["users"])
async def make_user(services: Services, caller: Caller, data: NewUser) -> AccountView:
    """With a password or a role in the registry: in person only."""
    made = await users.create_user(
        services,
        caller,
        name=data.name,
        password=data.password,
        display_name=data.display_name,
        email=data.email,
        system_role=SystemRole(data.system_role) if data.system_role else None,
        may_create_projects=data.may_create_projects,
    )
    return account_view(made)


@get("/users/{user:str}", Action.READ_SYSTEM, "Show a user", tags=["users"])
async def show_user(services: Services, caller: Caller, user: str) -> Response[AccountView]:
    found = await users.show_user(services, caller, user)
    return Response(account_view(found), headers=etag(found.version))


@patch("/users/{user:str}", Action.MANAGE_SYSTEM, "Change a user", tags=["users"])
async def change_user(
    services: Services, caller: Caller, request: Request[Any, Any, Any], user: str, data: UserChange
) -> Response[AccountView]:
    """A disabled user is refused from the next request on; a role in the registry is given in person only.
    Honours If-Match.
    """
    found = await users.change_user(
        services, caller, user, given(data), expected_version=expected_number(request)
    )
    return Response(account_view(found), headers=etag(found.version))


@delete("/users/{user:str}", Action.MANAGE_SYSTEM, "Delete a user", tags=["users"])
async def remove_user(services: Services, caller: Caller, user: str) -> None:
    """With tokens, memberships and grants; what they pushed stays."""
    await users.delete_user(services, caller, user)


@post(
    "/users/{user:str}/setup-link",
    Action.MANAGE_SYSTEM,
    "Make a link with which a user chooses a password",
    tags=["users"],
    status_code=200,
)
async def make_setup_link(services: Services, caller: Caller, user: str) -> SetupLink:
    secret = await users.make_setup_link(services, caller, user)
    return SetupLink(url=f"{caller.base_url}/setup?token={secret}")


@get("/users/{user:str}/tokens", Action.READ_SYSTEM, "List a user's tokens", tags=["users"])
async def tokens_of_user(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    user: str,
    n: N = DEFAULT_N,
    last: Last = "",
) -> Response[Page[TokenView]]:
    found = await tokens.list_tokens_of_user(services, caller, user, last=last, n=n + 1)
    return paged(request, [token_view(t) for t in found], n, lambda view: view.id)


@delete("/users/{user:str}/tokens/{token:str}", Action.MANAGE_SYSTEM, "Revoke a user's token", tags=["users"])
async def revoke_token_of_user(services: Services, caller: Caller, user: str, token: str) -> None:
    await tokens.revoke_token(services, caller, token, user=user)


ROUTES = [
    list_users,
    make_user,
    show_user,
    change_user,
    remove_user,
    make_setup_link,
    tokens_of_user,
    revoke_token_of_user,
]
