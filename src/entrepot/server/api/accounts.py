"""`/users`, `/robots`, `/teams`, `/roles`, and `/self`: accounts as admins and as their owners see them."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response
from sqlalchemy import Connection

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.errors import AccessDenied, InvalidCredentials
from entrepot.server.access.decision.model import Action, PrincipalKind, Resource, SystemRole
from entrepot.server.access.directory.accounts import (
    Account,
    change_account,
    create_robot,
    create_user,
    delete_account,
    get_account,
    list_accounts,
    set_password_hash,
)
from entrepot.server.access.directory.first_start import setup_link
from entrepot.server.access.directory.role_table import (
    change_role,
    create_role,
    delete_role,
    get_role,
    list_roles,
)
from entrepot.server.access.directory.seen_teams import EVERY_TEAM, SeenTeams, load_seen_teams
from entrepot.server.access.directory.teams import (
    Team,
    add_member,
    change_team,
    create_team,
    delete_team,
    get_team,
    list_members,
    list_teams,
    remove_member,
)
from entrepot.server.access.secrets.access_tokens import (
    AccessToken,
    get_token,
    list_tokens,
    mint,
    revoke,
    rotate_robot_secret,
)
from entrepot.server.access.secrets.passwords import check_new_password
from entrepot.server.api.headers import etag, expected_number
from entrepot.server.api.paging import DEFAULT_N, Last, N, Page, paged
from entrepot.server.api.route import delete, get, patch, post, put
from entrepot.server.api.schemas import (
    AccountView,
    MemberView,
    NewRobot,
    NewRole,
    NewTeam,
    NewToken,
    NewUser,
    PasswordChange,
    RepositoryView,
    RobotSecret,
    RoleChange,
    RoleView,
    Rotation,
    SelfChange,
    SetupLink,
    TeamChange,
    TeamView,
    TokenSecret,
    TokenView,
    UserChange,
    at,
    microseconds,
)
from entrepot.server.api.views import account_view, repository_view, role_view, team_view, token_view
from entrepot.server.control import repositories
from entrepot.server.control.passwords import hash_new_password
from entrepot.server.control.services import Services
from entrepot.server.db.clock import SECOND
from entrepot.server.http.caller import Caller, require_in_person
from entrepot.server.http.guard import Asked

__all__ = ["ROUTES"]


def _given(data: msgspec.Struct) -> dict[str, Any]:
    return {key: value for key, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}


# --- users


@get("/users", Action.READ_SYSTEM, "List users", tags=["users"])
async def list_users(
    services: Services, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[AccountView]]:
    found = await services.read(lambda c: list_accounts(c, kind="user", last=last, n=n + 1))
    return paged(request, [account_view(a) for a in found], n, lambda view: view.name)


@post("/users", Action.MANAGE_SYSTEM, "Make a user", tags=["users"])
async def make_user(services: Services, caller: Caller, data: NewUser) -> AccountView:
    """With a password or a role in the registry: in person only."""
    if data.password is not None or data.system_role is not None:
        require_in_person(caller)
    hashed = None
    if data.password is not None:
        hashed = await hash_new_password(services, data.password, data.name)

    def write(connection: Connection) -> Account:
        return create_user(
            connection,
            caller,
            now=services.now,
            name=data.name,
            password_hash=hashed,
            display_name=data.display_name,
            email=data.email,
            system_role=SystemRole(data.system_role) if data.system_role else None,
            may_create_projects=data.may_create_projects,
        )

    return account_view(await services.write(write))


@get("/users/{user:str}", Action.READ_SYSTEM, "Show a user", tags=["users"])
async def show_user(services: Services, user: str) -> Response[AccountView]:
    found = await services.read(lambda c: get_account(c, user, kind="user"))
    return Response(account_view(found), headers=etag(found.version))


@patch("/users/{user:str}", Action.MANAGE_SYSTEM, "Change a user", tags=["users"])
async def change_user(
    services: Services, caller: Caller, request: Request[Any, Any, Any], user: str, data: UserChange
) -> Response[AccountView]:
    """A disabled user is refused from the next request on; a role in the registry is given in person only.
    Honours If-Match.
    """
    version = expected_number(request)
    if data.system_role is not msgspec.UNSET:
        require_in_person(caller)

    def write(connection: Connection) -> Account:
        found = get_account(connection, user, kind="user")
        return change_account(
            connection, caller, found, _given(data), now=services.now, expected_version=version
        )

    found = await services.write(write)
    return Response(account_view(found), headers=etag(found.version))


@delete("/users/{user:str}", Action.MANAGE_SYSTEM, "Delete a user", tags=["users"])
async def remove_user(services: Services, caller: Caller, user: str) -> None:
    """With tokens, memberships and grants; what they pushed stays."""

    def write(connection: Connection) -> None:
        delete_account(connection, caller, get_account(connection, user, kind="user"), now=services.now)

    await services.write(write)


@post(
    "/users/{user:str}/setup-link",
    Action.MANAGE_SYSTEM,
    "Make a link with which a user chooses a password",
    tags=["users"],
    status_code=200,
)
async def make_setup_link(services: Services, caller: Caller, user: str) -> SetupLink:
    require_in_person(caller)
    secret = await services.write(setup_link, caller, user, services.now)
    return SetupLink(url=f"{caller.base_url}/setup?token={secret}")


@get("/users/{user:str}/tokens", Action.READ_SYSTEM, "List a user's tokens", tags=["users"])
async def tokens_of_user(
    services: Services, request: Request[Any, Any, Any], user: str, n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[TokenView]]:
    def read(connection: Connection) -> list[AccessToken]:
        owner = get_account(connection, user, kind="user")
        return list_tokens(connection, owner_id=owner.id, last=last, n=n + 1)

    return paged(request, [token_view(t) for t in await services.read(read)], n, lambda view: view.id)


@delete("/users/{user:str}/tokens/{token:str}", Action.MANAGE_SYSTEM, "Revoke a user's token", tags=["users"])
async def revoke_token_of_user(services: Services, caller: Caller, user: str, token: str) -> None:
    def write(connection: Connection) -> None:
        owner = get_account(connection, user, kind="user")
        revoke(connection, caller, get_token(connection, token, owner_id=owner.id), now=services.now)

    await services.write(write)


# --- robots of the registry


@get("/robots", Action.READ_SYSTEM, "List all robots", tags=["robots"])
async def list_robots(
    services: Services, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[AccountView]]:
    found = await services.read(lambda c: list_accounts(c, kind="robot", last=last, n=n + 1))
    return paged(request, [account_view(a) for a in found], n, lambda view: view.name)


@post("/robots", Action.MANAGE_SYSTEM, "Make a robot of the registry", tags=["robots"])
async def make_robot(services: Services, caller: Caller, data: NewRobot) -> RobotSecret:
    """It belongs to no project; grants say where it may go."""
    if data.role is not None:
        raise InvalidInput(
            "a robot of the registry has no project of its own", hint="give it grants in projects"
        )

    def write(connection: Connection) -> tuple[Account, str]:
        made = create_robot(
            connection,
            caller,
            now=services.now,
            name=f"+{data.name}",
            description=data.description,
            expires_at=microseconds(data.expires_at),
        )
        secret = rotate_robot_secret(
            connection, caller, now=services.now, robot_id=made.id, robot=made.name, overlap=0
        )
        return made, str(secret.text)

    made, secret = await services.write(write)
    return RobotSecret(robot=account_view(made), secret=secret)


@delete("/robots/{robot:str}", Action.MANAGE_SYSTEM, "Delete any robot", tags=["robots"])
async def remove_robot(services: Services, caller: Caller, robot: str) -> None:
    def write(connection: Connection) -> None:
        delete_account(connection, caller, get_account(connection, robot, kind="robot"), now=services.now)

    await services.write(write)


# --- teams


async def _seen(services: Services, caller: Caller) -> SeenTeams:
    if await services.may(caller, Action.READ_SYSTEM, Resource()):
        return EVERY_TEAM
    if caller.principal.kind is not PrincipalKind.USER:
        raise AccessDenied("teams and who is in them are shown to users", rule="people")
    return await services.read(load_seen_teams, caller.principal.id)


@get("/teams", Asked.SIGNED_IN, "List teams", tags=["teams"])
async def list_all_teams(
    services: Services, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[TeamView]]:
    """One's own, those that work in the same projects, and all for whoever gives roles in some project."""
    seen = await _seen(services, caller)
    found = await services.read(lambda c: list_teams(c, last=last, n=n + 1, among=seen.named))
    return paged(request, [team_view(t) for t in found], n, lambda view: view.name)


@post("/teams", Action.MANAGE_SYSTEM, "Make a team", tags=["teams"])
async def make_team(services: Services, caller: Caller, data: NewTeam) -> TeamView:
    def write(connection: Connection) -> Team:
        return create_team(
            connection,
            caller,
            now=services.now,
            name=data.name,
            description=data.description,
            external_group=data.external_group,
        )

    return team_view(await services.write(write))


@get("/teams/{team:str}", Asked.SIGNED_IN, "Show a team", tags=["teams"])
async def show_team(services: Services, caller: Caller, team: str) -> Response[TeamView]:
    seen = await _seen(services, caller)
    found = await services.read(lambda c: get_team(c, team, among=seen.named))
    return Response(team_view(found), headers=etag(found.version))


@patch("/teams/{team:str}", Action.MANAGE_SYSTEM, "Change a team", tags=["teams"])
async def change_one_team(
    services: Services, caller: Caller, request: Request[Any, Any, Any], team: str, data: TeamChange
) -> Response[TeamView]:
    """Honours If-Match."""
    version = expected_number(request)

    def write(connection: Connection) -> Team:
        found = get_team(connection, team)
        return change_team(
            connection, caller, found, _given(data), now=services.now, expected_version=version
        )

    found = await services.write(write)
    return Response(team_view(found), headers=etag(found.version))


@delete("/teams/{team:str}", Action.MANAGE_SYSTEM, "Delete a team", tags=["teams"])
async def remove_team(services: Services, caller: Caller, team: str) -> None:
    def write(connection: Connection) -> None:
        delete_team(connection, caller, get_team(connection, team), now=services.now)

    await services.write(write)


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
    seen = await _seen(services, caller)
    found = await services.read(
        lambda c: list_members(c, get_team(c, team, among=seen.known), last=last, n=n + 1)
    )
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
    def write(connection: Connection) -> None:
        account = get_account(connection, member)
        add_member(connection, caller, get_team(connection, team), account.id, account.name, now=services.now)

    await services.write(write)


@delete("/teams/{team:str}/members/{member:str}", Action.MANAGE_SYSTEM, "Remove a member", tags=["teams"])
async def remove_team_member(services: Services, caller: Caller, team: str, member: str) -> None:
    def write(connection: Connection) -> None:
        account = get_account(connection, member)
        remove_member(
            connection, caller, get_team(connection, team), account.id, account.name, now=services.now
        )

    await services.write(write)


# --- roles


@get("/roles", Asked.SIGNED_IN, "List roles", tags=["roles"])
async def list_all_roles(services: Services) -> list[RoleView]:
    return [role_view(role) for role in await services.read(list_roles)]


@post("/roles", Action.MANAGE_SYSTEM, "Make a custom role", tags=["roles"])
async def make_role(services: Services, caller: Caller, data: NewRole) -> RoleView:
    def write(connection: Connection) -> RoleView:
        made = create_role(
            connection,
            caller,
            now=services.now,
            name=data.name,
            actions=data.actions,
            description=data.description,
        )
        return role_view(made)

    return await services.write(write)


@get("/roles/{role:str}", Asked.SIGNED_IN, "Show a role", tags=["roles"])
async def show_role(services: Services, role: str) -> Response[RoleView]:
    found = await services.read(get_role, role)
    return Response(role_view(found), headers=etag(found.version))


@patch("/roles/{role:str}", Action.MANAGE_SYSTEM, "Change a custom role", tags=["roles"])
async def change_one_role(
    services: Services, caller: Caller, request: Request[Any, Any, Any], role: str, data: RoleChange
) -> Response[RoleView]:
    """Holds from the next request on. Honours If-Match."""
    given, version = _given(data), expected_number(request)

    def write(connection: Connection) -> Any:
        return change_role(
            connection,
            caller,
            get_role(connection, role),
            now=services.now,
            actions=given.get("actions"),
            description=given.get("description"),
            expected_version=version,
        )

    found = await services.write(write)
    return Response(role_view(found), headers=etag(found.version))


@delete("/roles/{role:str}", Action.MANAGE_SYSTEM, "Delete a custom role", tags=["roles"])
async def remove_role(services: Services, caller: Caller, role: str) -> None:
    def write(connection: Connection) -> None:
        delete_role(connection, caller, get_role(connection, role), now=services.now)

    await services.write(write)


# --- oneself


def _own(connection: Connection, caller: Caller) -> Account:
    if caller.principal.kind not in {PrincipalKind.USER, PrincipalKind.ROBOT}:
        raise AccessDenied("this registry has no accounts")
    return get_account(connection, caller.principal.name)


@get("/self", Action.MANAGE_SELF, "Who am I", tags=["self"])
async def show_self(services: Services, caller: Caller) -> Response[AccountView]:
    found = await services.read(_own, caller)
    return Response(account_view(found), headers=etag(found.version))


@patch("/self", Action.MANAGE_SELF, "Change one's name and address", tags=["self"])
async def change_self(
    services: Services, caller: Caller, request: Request[Any, Any, Any], data: SelfChange
) -> Response[AccountView]:
    version = expected_number(request)
    require_in_person(caller)

    def write(connection: Connection) -> Account:
        found = _own(connection, caller)
        return change_account(
            connection, caller, found, _given(data), now=services.now, expected_version=version
        )

    found = await services.write(write)
    return Response(account_view(found), headers=etag(found.version))


@put("/self/password", Action.MANAGE_SELF, "Change one's password", tags=["self"], status_code=204)
async def change_password(services: Services, caller: Caller, data: PasswordChange) -> None:
    """Ends all sessions and log-ins, this one included."""
    require_in_person(caller)
    check_new_password(data.new, name=caller.principal.name)
    assert services.accounts is not None
    proven = await services.accounts.authenticator.basic(
        caller.principal.name, data.current, address=caller.address
    )
    if proven.credential != "password":
        raise InvalidCredentials("the current password is wrong")
    hashed = await hash_new_password(services, data.new, caller.principal.name)

    def write(connection: Connection) -> None:
        found = _own(connection, caller)
        if found.source != "local":
            raise InvalidInput(f"the password of {found.name} is kept at {found.source}")
        set_password_hash(connection, caller, found, hashed, now=services.now)

    await services.write(write)


@get("/self/tokens", Action.MANAGE_SELF, "List one's tokens", tags=["self"])
async def own_tokens(
    services: Services, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[TokenView]]:
    def read(connection: Connection) -> list[AccessToken]:
        owner = _own(connection, caller)
        return list_tokens(connection, owner_id=owner.id, last=last, n=n + 1)

    return paged(request, [token_view(t) for t in await services.read(read)], n, lambda view: view.id)


@post("/self/tokens", Action.MANAGE_SELF, "Make a personal access token", tags=["self"])
async def make_token(services: Services, caller: Caller, data: NewToken) -> TokenSecret:
    """The secret is in the answer and nowhere else."""
    require_in_person(caller)

    def write(connection: Connection) -> TokenSecret:
        owner = _own(connection, caller)
        secret = mint(
            connection,
            caller,
            now=services.now,
            kind="pat",
            owner_id=owner.id,
            owner=owner.name,
            name=data.name,
            actions=data.actions,
            repositories=data.repositories,
            expires_at=microseconds(data.expires_at),
        )
        view = token_view(get_token(connection, secret.public_id))
        return TokenSecret(token=view, secret=str(secret.text))

    return await services.write(write)


@delete("/self/tokens/{token:str}", Action.MANAGE_SELF, "Revoke one of one's tokens", tags=["self"])
async def revoke_own_token(services: Services, caller: Caller, token: str) -> None:
    """At once; bearer tokens made with it are refused too."""

    def write(connection: Connection) -> None:
        owner = _own(connection, caller)
        revoke(connection, caller, get_token(connection, token, owner_id=owner.id), now=services.now)

    await services.write(write)


@post(
    "/self/secret", Action.MANAGE_SELF, "Give oneself a new secret (robots)", tags=["self"], status_code=200
)
async def rotate_self(services: Services, caller: Caller, data: Rotation) -> RobotSecret:
    """A robot changes its own secret; nobody else's credentials are needed."""
    if caller.principal.kind is not PrincipalKind.ROBOT or caller.principal.credential != "robot":
        raise AccessDenied("only a robot with its secret may do this", rule="robot-secret")

    def write(connection: Connection) -> tuple[Account, str]:
        found = _own(connection, caller)
        secret = rotate_robot_secret(
            connection,
            caller,
            now=services.now,
            robot_id=found.id,
            robot=found.name,
            overlap=data.overlap_seconds * SECOND,
        )
        return found, str(secret.text)

    found, secret = await services.write(write)
    return RobotSecret(robot=account_view(found), secret=secret)


@get("/self/stars", Action.MANAGE_SELF, "List starred repositories", tags=["self"])
async def own_stars(
    services: Services, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[RepositoryView]]:
    found = await repositories.list_repositories(services, caller, last=last, n=n + 1, starred=True)
    return paged(request, [repository_view(row) for row in found], n, lambda view: view.name)


ROUTES = [
    list_users,
    make_user,
    show_user,
    change_user,
    remove_user,
    make_setup_link,
    tokens_of_user,
    revoke_token_of_user,
    list_robots,
    make_robot,
    remove_robot,
    list_all_teams,
    make_team,
    show_team,
    change_one_team,
    remove_team,
    members_of_team,
    add_team_member,
    remove_team_member,
    list_all_roles,
    make_role,
    show_role,
    change_one_role,
    remove_role,
    show_self,
    change_self,
    change_password,
    own_tokens,
    make_token,
    revoke_own_token,
    rotate_self,
    own_stars,
]
