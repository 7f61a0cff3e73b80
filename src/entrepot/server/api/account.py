"""`/self`: one's own account, as its owner sees and changes it."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response

from entrepot.server.access.decision.model import Action
from entrepot.server.api.headers import etag, expected_number
from entrepot.server.api.paging import DEFAULT_N, Last, N, Page, paged
from entrepot.server.api.route import delete, get, patch, post, put
from entrepot.server.api.schemas import (
    AccountView,
    NewToken,
    PasswordChange,
    RepositoryView,
    RobotSecret,
    Rotation,
    SelfChange,
    TokenSecret,
    TokenView,
    given,
    microseconds,
)
from entrepot.server.api.views import account_view, repository_view, token_view
from entrepot.server.control import account, repositories, tokens
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller

__all__ = ["ROUTES"]

SECOND: Final = 1_000_000
"""In microseconds."""


@get("/self", Action.MANAGE_SELF, "Who am I", tags=["self"])
async def show_self(services: Services, caller: Caller) -> Response[AccountView]:
    found = await account.show_self(services, caller)
    return Response(account_view(found), headers=etag(found.version))


@patch("/self", Action.MANAGE_SELF, "Change one's name and address", tags=["self"])
async def change_self(
    services: Services, caller: Caller, request: Request[Any, Any, Any], data: SelfChange
) -> Response[AccountView]:
    found = await account.change_self(
        services, caller, given(data), expected_version=expected_number(request)
    )
    return Response(account_view(found), headers=etag(found.version))


@put("/self/password", Action.MANAGE_SELF, "Change one's password", tags=["self"], status_code=204)
async def change_password(services: Services, caller: Caller, data: PasswordChange) -> None:
    """Ends all sessions and log-ins, this one included."""
    await account.change_password(services, caller, current=data.current, new=data.new)


@get("/self/tokens", Action.MANAGE_SELF, "List one's tokens", tags=["self"])
async def own_tokens(
    services: Services, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[TokenView]]:
    found = await tokens.list_own_tokens(services, caller, last=last, n=n + 1)
    return paged(request, [token_view(t) for t in found], n, lambda view: view.id)


@post("/self/tokens", Action.MANAGE_SELF, "Make a personal access token", tags=["self"])
async def make_token(services: Services, caller: Caller, data: NewToken) -> TokenSecret:
    """The secret is in the answer and nowhere else."""
    made = await tokens.create_own_token(
        services,
        caller,
        name=data.name,
        actions=data.actions,
        repositories=data.repositories,
        expires_at=microseconds(data.expires_at),
    )
    return TokenSecret(token=token_view(made.token), secret=made.secret)


@delete("/self/tokens/{token:str}", Action.MANAGE_SELF, "Revoke one of one's tokens", tags=["self"])
async def revoke_own_token(services: Services, caller: Caller, token: str) -> None:
    """At once; bearer tokens made with it are refused too."""
    await tokens.revoke_own_token(services, caller, token)


@post(
    "/self/secret", Action.MANAGE_SELF, "Give oneself a new secret (robots)", tags=["self"], status_code=200
)
async def rotate_self(services: Services, caller: Caller, data: Rotation) -> RobotSecret:
    """A robot changes its own secret; nobody else's credentials are needed."""
    made = await account.rotate_own_secret(services, caller, overlap=data.overlap_seconds * SECOND)
    return RobotSecret(robot=account_view(made.robot), secret=made.secret)


@get("/self/stars", Action.MANAGE_SELF, "List starred repositories", tags=["self"])
async def own_stars(
    services: Services, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[RepositoryView]]:
    found = await repositories.list_repositories(services, caller, last=last, n=n + 1, starred=True)
    return paged(request, [repository_view(row) for row in found], n, lambda view: view.name)


ROUTES = [
    show_self,
    change_self,
    change_password,
    own_tokens,
    make_token,
    revoke_own_token,
    rotate_self,
    own_stars,
]
