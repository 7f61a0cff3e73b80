"""`/robots`: robots of the registry, and all as admins see them; those of a project are in `projects`."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response

from entrepot.server.access.decision.model import Action
from entrepot.server.api.paging import DEFAULT_N, Last, N, Page, paged
from entrepot.server.api.route import delete, get, post
from entrepot.server.api.schemas import AccountView, NewRobot, RobotSecret, microseconds
from entrepot.server.api.views import account_view
from entrepot.server.control import robots
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller

__all__ = ["ROUTES"]


@get("/robots", Action.READ_SYSTEM, "List all robots", tags=["robots"])
async def list_robots(
    services: Services, caller: Caller, request: Request[Any, Any, Any], n: N = DEFAULT_N, last: Last = ""
) -> Response[Page[AccountView]]:
    found = await robots.list_robots(services, caller, last=last, n=n + 1)
    return paged(request, [account_view(a) for a in found], n, lambda view: view.name)


@post("/robots", Action.MANAGE_SYSTEM, "Make a robot of the registry", tags=["robots"])
async def make_robot(services: Services, caller: Caller, data: NewRobot) -> RobotSecret:
    """It belongs to no project; grants say where it may go."""
    made = await robots.create_robot(
        services,
        caller,
        name=f"+{data.name}",
        role=data.role,
        description=data.description,
        expires_at=microseconds(data.expires_at),
    )
    return RobotSecret(robot=account_view(made.robot), secret=made.secret)


@delete("/robots/{robot:str}", Action.MANAGE_SYSTEM, "Delete any robot", tags=["robots"])
async def remove_robot(services: Services, caller: Caller, robot: str) -> None:
    await robots.delete_robot(services, caller, robot)


ROUTES = [list_robots, make_robot, remove_robot]
