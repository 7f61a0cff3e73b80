"""`/projects`: projects, their grants and robots, their audit log."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.params import Parameter
from sqlalchemy import Connection

from entrepot.errors import InvalidInput
from entrepot.server.access.access_tokens import rotate_robot_secret
from entrepot.server.access.accounts import (
    Account,
    change_account,
    create_robot,
    delete_account,
    get_account,
    list_accounts,
)
from entrepot.server.access.errors import Unknown
from entrepot.server.access.grants import (
    GrantRow,
    add_grant,
    get_grant,
    list_grants,
    list_reach,
    reach_of_role,
    remove_grant,
)
from entrepot.server.access.model import Action, PrincipalKind, Resource
from entrepot.server.access.projects import (
    Project,
    as_seen,
    change_project,
    create_project,
    get_project,
    list_projects,
)
from entrepot.server.access.teams import get_team
from entrepot.server.access.workload import add_rule, issuer_is_known, list_rules, remove_rule
from entrepot.server.db.clock import SECOND
from entrepot.server.management.audit_queries import list_audit
from entrepot.server.management.context import Api, Caller
from entrepot.server.management.headers import etag, expected, expected_number
from entrepot.server.management.pages import DEFAULT_N, Last, LastNumber, N, Page, paged
from entrepot.server.management.route import delete, get, patch, post
from entrepot.server.management.schemas import (
    AccountView,
    AuditRow,
    GrantView,
    NewGrant,
    NewProject,
    NewRobot,
    NewTrustRule,
    ProjectChange,
    ProjectView,
    RobotChange,
    RobotSecret,
    Rotation,
    TrustRule,
    microseconds,
)
from entrepot.server.management.tombstones import delete_project, restore_project
from entrepot.server.management.views import account_view, audit_view, grant_view, project_view

__all__ = ["ROUTES"]

RowNumber = Annotated[int, Parameter(ge=0, le=2**63 - 1)]


@get("/projects", Action.SEARCH, "List projects", tags=["projects"])
async def list_(
    api: Api, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[ProjectView]]:
    """Those the caller sees something of."""
    visible = await api.visible(caller)
    found = await api.read(lambda c: list_projects(c, visible, last=last, n=n + 1))
    return paged(request, [project_view(project) for project in found], n, lambda view: view.name)


@post("/projects", Action.CREATE_PROJECT, "Make a project", tags=["projects"])
async def create(api: Api, caller: Caller, data: NewProject) -> ProjectView:
    """The caller becomes its owner."""
    owner = caller.principal.id if caller.principal.kind is PrincipalKind.USER else None

    def write(connection: Connection) -> Project:
        return create_project(
            connection,
            caller.actor,
            now=api.now,
            name=data.name,
            visibility=data.visibility,
            quota_bytes=data.quota_bytes,
            owner_id=owner,
        )

    return project_view(await api.write(write))


@get("/projects/{project:str}", Action.READ, "Show a project", tags=["projects"])
async def show(api: Api, caller: Caller, project: str) -> Response[ProjectView]:
    """How much is in it is told to those who may see all of it."""
    visible = await api.visible(caller)
    found = as_seen(await api.read(get_project, project), visible)
    return Response(project_view(found), headers=etag(found.version))


@patch("/projects/{project:str}", Action.MANAGE_PROJECT, "Change a project", tags=["projects"])
async def change(
    api: Api, caller: Caller, request: Request[Any, Any, Any], project: str, data: ProjectChange
) -> Response[ProjectView]:
    """Honours If-Match."""
    changes = {
        key: value for key, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET
    }

    def write(connection: Connection) -> Project:
        return change_project(
            connection,
            caller.actor,
            get_project(connection, project),
            changes,
            now=api.now,
            expected_version=expected(request),
        )

    found = await api.write(write)
    return Response(project_view(found), headers=etag(found.version))


@delete("/projects/{project:str}", Action.DELETE_PROJECT, "Delete a project", tags=["projects"])
async def remove(api: Api, caller: Caller, project: str) -> None:
    """With its repositories. It can be restored until the undo window ends."""
    clock = api.catalog.clock
    await api.write(delete_project, project, caller.actor, api.permit(caller), clock.now(), clock.steady())


@post(
    "/projects/{project:str}/restore",
    Action.MANAGE_SYSTEM,
    "Bring back a deleted project",
    tags=["projects"],
    status_code=200,
)
async def restore(api: Api, caller: Caller, project: str) -> ProjectView:
    await api.write(restore_project, project, caller.actor, api.now)
    return project_view(await api.read(get_project, project))


# --- grants


@get("/projects/{project:str}/grants", Action.READ_MEMBERS, "List grants", tags=["grants"])
async def list_project_grants(
    api: Api, request: Request[Any, Any, Any], project: str, n: N = DEFAULT_N, last: LastNumber = 0
) -> Response[Page[GrantView]]:
    def read(connection: Connection) -> list[GrantRow]:
        found = get_project(connection, project)
        return list_grants(connection, project_id=found.id, last=last, n=n + 1)

    return paged(request, [grant_view(g) for g in await api.read(read)], n, lambda view: view.id)


@post("/projects/{project:str}/grants", Action.MANAGE_MEMBERS, "Give a role", tags=["grants"])
async def give(api: Api, caller: Caller, project: str, data: NewGrant) -> GrantView:
    if (data.principal is None) == (data.team is None):
        raise InvalidInput("a grant is for a principal or for a team; name one of them")
    await api.require_reach(caller, project, await api.read(reach_of_role, data.role, data.tags))

    def write(connection: Connection) -> GrantRow:
        return add_grant(
            connection,
            caller.actor,
            now=api.now,
            project_id=get_project(connection, project).id,
            role_name=data.role,
            principal_id=get_account(connection, data.principal).id if data.principal is not None else None,
            team_id=get_team(connection, data.team).id if data.team is not None else None,
            repositories=data.repositories,
            tags=data.tags,
        )

    return grant_view(await api.write(write))


@delete(
    "/projects/{project:str}/grants/{grant:int}", Action.MANAGE_MEMBERS, "Take a role away", tags=["grants"]
)
async def take(api: Api, caller: Caller, project: str, grant: RowNumber) -> None:
    """It ends with the next request of whoever held it."""

    def write(connection: Connection) -> None:
        found = get_grant(connection, grant, project_id=get_project(connection, project).id)
        remove_grant(connection, caller.actor, found, now=api.now)

    await api.write(write)


# --- robots


@get("/projects/{project:str}/robots", Action.READ_MEMBERS, "List robots", tags=["robots"])
async def list_robots(
    api: Api, request: Request[Any, Any, Any], project: str, n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[AccountView]]:
    def read(connection: Connection) -> list[Account]:
        found = get_project(connection, project)
        return list_accounts(connection, kind="robot", project_id=found.id, last=last, n=n + 1)

    return paged(request, [account_view(a) for a in await api.read(read)], n, lambda view: view.name)


@post("/projects/{project:str}/robots", Action.MANAGE_ROBOTS, "Make a robot", tags=["robots"])
async def make_robot(api: Api, caller: Caller, project: str, data: NewRobot) -> RobotSecret:
    """The secret is in the answer and nowhere else."""
    if data.role is not None:
        await api.require_reach(caller, project, await api.read(reach_of_role, data.role, data.tags))

    def write(connection: Connection) -> tuple[Account, str]:
        found = get_project(connection, project)
        made = create_robot(
            connection,
            caller.actor,
            now=api.now,
            name=f"{project}+{data.name}",
            description=data.description,
            expires_at=microseconds(data.expires_at),
        )
        if data.role is not None:
            add_grant(
                connection,
                caller.actor,
                now=api.now,
                project_id=found.id,
                role_name=data.role,
                principal_id=made.id,
                repositories=data.repositories,
                tags=data.tags,
            )
        secret = rotate_robot_secret(
            connection, caller.actor, now=api.now, robot_id=made.id, robot=made.name, overlap=0
        )
        return made, str(secret.text)

    made, secret = await api.write(write)
    return RobotSecret(robot=account_view(made), secret=secret)


def _reach_of(connection: Connection, project: str, robot: str) -> set[tuple[str, str]]:
    """All that a robot may do in its project."""
    found = _robot(connection, project, robot)
    assert found.project_id is not None
    return list_reach(connection, principal_id=found.id, project_id=found.project_id)


def _robot(connection: Connection, project: str, robot: str) -> Account:
    """Through its project: a robot of another one is not found."""
    found = get_account(connection, robot, kind="robot")
    if found.project_id != get_project(connection, project).id:
        raise Unknown(f"no robot is called {robot}")
    return found


@patch("/projects/{project:str}/robots/{robot:str}", Action.MANAGE_ROBOTS, "Change a robot", tags=["robots"])
async def change_robot(
    api: Api, caller: Caller, request: Request[Any, Any, Any], project: str, robot: str, data: RobotChange
) -> Response[AccountView]:
    changes = {
        key: value for key, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET
    }
    if "expires_at" in changes:
        changes["expires_at"] = microseconds(changes["expires_at"])
    version = expected_number(request)
    await api.require_robot(caller, project, await api.read(_reach_of, project, robot))

    def write(connection: Connection) -> Account:
        found = _robot(connection, project, robot)
        return change_account(
            connection,
            caller.actor,
            found,
            changes,
            now=api.now,
            expected_version=version,
        )

    found = await api.write(write)
    return Response(account_view(found), headers=etag(found.version))


@delete("/projects/{project:str}/robots/{robot:str}", Action.MANAGE_ROBOTS, "Delete a robot", tags=["robots"])
async def remove_robot(api: Api, caller: Caller, project: str, robot: str) -> None:
    await api.require_robot(caller, project, await api.read(_reach_of, project, robot))

    def write(connection: Connection) -> None:
        delete_account(connection, caller.actor, _robot(connection, project, robot), now=api.now)

    await api.write(write)


@post(
    "/projects/{project:str}/robots/{robot:str}/secret",
    Action.MANAGE_ROBOTS,
    "Give a robot a new secret",
    tags=["robots"],
    status_code=200,
)
async def rotate_robot(api: Api, caller: Caller, project: str, robot: str, data: Rotation) -> RobotSecret:
    await api.require_reach(caller, project, await api.read(_reach_of, project, robot))

    def write(connection: Connection) -> tuple[Account, str]:
        found = _robot(connection, project, robot)
        secret = rotate_robot_secret(
            connection,
            caller.actor,
            now=api.now,
            robot_id=found.id,
            robot=found.name,
            overlap=data.overlap_seconds * SECOND,
        )
        return found, str(secret.text)

    found, secret = await api.write(write)
    return RobotSecret(robot=account_view(found), secret=secret)


@get(
    "/projects/{project:str}/robots/{robot:str}/trusts",
    Action.READ_MEMBERS,
    "List what lets CI jobs in as a robot",
    tags=["robots"],
)
async def list_trusts(api: Api, project: str, robot: str) -> list[TrustRule]:
    def read(connection: Connection) -> list[TrustRule]:
        _robot(connection, project, robot)
        return [
            TrustRule(id=r.id, robot=r.robot, issuer=r.issuer, audience=r.audience, claims=dict(r.claims))
            for r in list_rules(connection, robot=robot)
        ]

    return await api.read(read)


@post(
    "/projects/{project:str}/robots/{robot:str}/trusts",
    Action.MANAGE_ROBOTS,
    "Let CI jobs in as a robot, without a secret",
    tags=["robots"],
)
async def trust(api: Api, caller: Caller, project: str, robot: str, data: NewTrustRule) -> TrustRule:
    await api.require_reach(caller, project, await api.read(_reach_of, project, robot))
    if not await api.read(issuer_is_known, data.issuer):
        # The server will fetch from that address: not for everybody to choose.
        await api.require(caller, Action.MANAGE_SYSTEM, Resource())

    def write(connection: Connection) -> int:
        return add_rule(
            connection,
            caller.actor,
            now=api.now,
            robot_id=_robot(connection, project, robot).id,
            issuer=data.issuer,
            audience=data.audience,
            claims=data.claims,
        )

    rule_id = await api.write(write)
    return TrustRule(
        id=rule_id, robot=robot, issuer=data.issuer.rstrip("/"), audience=data.audience, claims=data.claims
    )


@delete(
    "/projects/{project:str}/robots/{robot:str}/trusts/{rule:int}",
    Action.MANAGE_ROBOTS,
    "Stop letting CI jobs in",
    tags=["robots"],
)
async def distrust(api: Api, caller: Caller, project: str, robot: str, rule: RowNumber) -> None:
    await api.require_robot(caller, project, await api.read(_reach_of, project, robot))

    def write(connection: Connection) -> None:
        found = _robot(connection, project, robot)
        remove_rule(connection, caller.actor, rule, robot_id=found.id, now=api.now)

    await api.write(write)


@get("/projects/{project:str}/audit", Action.READ_AUDIT, "Who changed what in a project", tags=["audit"])
async def audit_of_project(
    api: Api,
    request: Request[Any, Any, Any],
    project: str,
    n: N = DEFAULT_N,
    last: LastNumber = 0,
    action: str | None = Parameter(query="action", default=None, max_length=64),
) -> Response[Page[AuditRow]]:
    """Newest first."""

    def read(connection: Connection) -> list[Any]:
        made_at = get_project(connection, project).created_at  # another project may have had the name before
        return list_audit(
            connection, project=project, since=made_at, before=last or None, n=n + 1, action=action
        )

    return paged(request, [audit_view(row) for row in await api.read(read)], n, lambda view: view.number)


ROUTES = [
    list_,
    create,
    show,
    change,
    remove,
    restore,
    list_project_grants,
    give,
    take,
    list_robots,
    make_robot,
    change_robot,
    remove_robot,
    rotate_robot,
    list_trusts,
    trust,
    distrust,
    audit_of_project,
]
