"""`/projects`: projects, their grants and robots, their audit log."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Request, Response
from litestar.params import Parameter

from entrepot.server.access.decision.model import Action
from entrepot.server.api.headers import etag, expected, expected_number
from entrepot.server.api.paging import DEFAULT_N, Last, LastNumber, N, Page, paged
from entrepot.server.api.route import delete, get, patch, post
from entrepot.server.api.schemas import (
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
    given,
    microseconds,
)
from entrepot.server.api.views import account_view, audit_view, grant_view, project_view
from entrepot.server.control import audit, grants, projects, robots
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller

__all__ = ["ROUTES"]

RowNumber = Annotated[int, Parameter(ge=0, le=2**63 - 1)]
SECOND: Final = 1_000_000
"""In microseconds."""


@get("/projects", Action.SEARCH, "List projects", tags=["projects"])
async def list_(
    services: Services, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[ProjectView]]:
    """Those the caller sees something of."""
    found = await projects.list_projects(services, caller, last=last, n=n + 1)
    return paged(request, [project_view(project) for project in found], n, lambda view: view.name)


@post("/projects", Action.CREATE_PROJECT, "Make a project", tags=["projects"])
async def create(services: Services, caller: Caller, data: NewProject) -> ProjectView:
    """The caller becomes its owner."""
    made = await projects.create_project(
        services, caller, name=data.name, visibility=data.visibility, quota_bytes=data.quota_bytes
    )
    return project_view(made)


@get("/projects/{project:str}", Action.READ, "Show a project", tags=["projects"])
async def show(services: Services, caller: Caller, project: str) -> Response[ProjectView]:
    """How much is in it is told to those who may see all of it."""
    found = await projects.show_project(services, caller, project)
    return Response(project_view(found), headers=etag(found.version))


@patch("/projects/{project:str}", Action.MANAGE_PROJECT, "Change a project", tags=["projects"])
async def change(
    services: Services, caller: Caller, request: Request[Any, Any, Any], project: str, data: ProjectChange
) -> Response[ProjectView]:
    """Honours If-Match."""
    found = await projects.change_project(
        services, caller, project, given(data), expected_version=expected(request)
    )
    return Response(project_view(found), headers=etag(found.version))


@delete("/projects/{project:str}", Action.DELETE_PROJECT, "Delete a project", tags=["projects"])
async def remove(services: Services, caller: Caller, project: str) -> None:
    """With its repositories. It can be restored until the undo window ends."""
    await projects.delete_project(services, caller, project)


@post(
    "/projects/{project:str}/restore",
    Action.MANAGE_SYSTEM,
    "Bring back a deleted project",
    tags=["projects"],
    status_code=200,
)
async def restore(services: Services, caller: Caller, project: str) -> ProjectView:
    return project_view(await projects.restore_project(services, caller, project))


# --- grants


@get("/projects/{project:str}/grants", Action.READ_MEMBERS, "List grants", tags=["grants"])
async def list_project_grants(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    project: str,
    n: N = DEFAULT_N,
    last: LastNumber = 0,
) -> Response[Page[GrantView]]:
    found = await grants.list_grants(services, caller, project=project, last=last, n=n + 1)
    return paged(request, [grant_view(grant) for grant in found], n, lambda view: view.id)


@post("/projects/{project:str}/grants", Action.MANAGE_MEMBERS, "Give a role", tags=["grants"])
async def give(services: Services, caller: Caller, project: str, data: NewGrant) -> GrantView:
    """No more than the caller has."""
    given_ = await grants.give_role(
        services,
        caller,
        project=project,
        role=data.role,
        principal=data.principal,
        team=data.team,
        repositories=data.repositories,
        tags=data.tags,
    )
    return grant_view(given_)


@delete(
    "/projects/{project:str}/grants/{grant:int}", Action.MANAGE_MEMBERS, "Take a role away", tags=["grants"]
)
async def take(services: Services, caller: Caller, project: str, grant: RowNumber) -> None:
    """It ends with the next request of whoever held it."""
    await grants.take_role(services, caller, grant, project=project)


# --- robots


@get("/projects/{project:str}/robots", Action.READ_MEMBERS, "List robots", tags=["robots"])
async def list_robots(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    project: str,
    n: N = DEFAULT_N,
    last: Last = "",
) -> Response[Page[AccountView]]:
    found = await robots.list_robots(services, caller, project=project, last=last, n=n + 1)
    return paged(request, [account_view(robot) for robot in found], n, lambda view: view.name)


@post("/projects/{project:str}/robots", Action.MANAGE_ROBOTS, "Make a robot", tags=["robots"])
async def make_robot(services: Services, caller: Caller, project: str, data: NewRobot) -> RobotSecret:
    """The secret is in the answer and nowhere else."""
    made = await robots.create_robot(
        services,
        caller,
        name=f"{project}+{data.name}",
        role=data.role,
        repositories=data.repositories,
        tags=data.tags,
        description=data.description,
        expires_at=microseconds(data.expires_at),
    )
    return RobotSecret(robot=account_view(made.robot), secret=made.secret)


@patch("/projects/{project:str}/robots/{robot:str}", Action.MANAGE_ROBOTS, "Change a robot", tags=["robots"])
async def change_robot(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    project: str,
    robot: str,
    data: RobotChange,
) -> Response[AccountView]:
    """Honours If-Match."""
    changes = given(data)
    if "expires_at" in changes:
        changes["expires_at"] = microseconds(changes["expires_at"])
    found = await robots.change_robot(
        services, caller, robot, changes, project=project, expected_version=expected_number(request)
    )
    return Response(account_view(found), headers=etag(found.version))


@delete("/projects/{project:str}/robots/{robot:str}", Action.MANAGE_ROBOTS, "Delete a robot", tags=["robots"])
async def remove_robot(services: Services, caller: Caller, project: str, robot: str) -> None:
    """It is refused at once."""
    await robots.delete_robot(services, caller, robot, project=project)


@post(
    "/projects/{project:str}/robots/{robot:str}/secret",
    Action.MANAGE_ROBOTS,
    "Give a robot a new secret",
    tags=["robots"],
    status_code=200,
)
async def rotate_robot(
    services: Services, caller: Caller, project: str, robot: str, data: Rotation
) -> RobotSecret:
    made = await robots.rotate_secret(
        services, caller, robot, project=project, overlap=data.overlap_seconds * SECOND
    )
    return RobotSecret(robot=account_view(made.robot), secret=made.secret)


@get(
    "/projects/{project:str}/robots/{robot:str}/trusts",
    Action.READ_MEMBERS,
    "List what lets CI jobs in as a robot",
    tags=["robots"],
)
async def list_trusts(services: Services, caller: Caller, project: str, robot: str) -> list[TrustRule]:
    rules = await robots.list_trusts(services, caller, robot, project=project)
    return [
        TrustRule(id=r.id, robot=r.robot, issuer=r.issuer, audience=r.audience, claims=dict(r.claims))
        for r in rules
    ]


@post(
    "/projects/{project:str}/robots/{robot:str}/trusts",
    Action.MANAGE_ROBOTS,
    "Let CI jobs in as a robot, without a secret",
    tags=["robots"],
)
async def trust(
    services: Services, caller: Caller, project: str, robot: str, data: NewTrustRule
) -> TrustRule:
    number = await robots.trust_jobs(
        services,
        caller,
        robot,
        project=project,
        issuer=data.issuer,
        audience=data.audience,
        claims=data.claims,
    )
    return TrustRule(
        id=number, robot=robot, issuer=data.issuer.rstrip("/"), audience=data.audience, claims=data.claims
    )


@delete(
    "/projects/{project:str}/robots/{robot:str}/trusts/{rule:int}",
    Action.MANAGE_ROBOTS,
    "Stop letting CI jobs in",
    tags=["robots"],
)
async def distrust(services: Services, caller: Caller, project: str, robot: str, rule: RowNumber) -> None:
    await robots.distrust_jobs(services, caller, robot, rule, project=project)


@get("/projects/{project:str}/audit", Action.READ_AUDIT, "Who changed what in a project", tags=["audit"])
async def audit_of_project(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    project: str,
    n: N = DEFAULT_N,
    last: LastNumber = 0,
    action: str | None = Parameter(query="action", default=None, max_length=64),
) -> Response[Page[AuditRow]]:
    """Newest first."""

    rows = await audit.list_audit_of_project(
        services, caller, project, before=last or None, n=n + 1, action=action
    )
    return paged(request, [audit_view(row) for row in rows], n, lambda view: view.number)


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
