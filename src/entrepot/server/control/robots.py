"""Robots: names for machines, their secrets, and which CI jobs are let in as them without one.

A robot belongs to a project, whose name stands before its own (`acme+ci`), or to the registry (`+ci`). Those
who look after the project look after its robots; who may hold a robot's secret can do all that it can, and so
has to have that much themselves. Where a function takes `project`, a robot of another one is not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import PermitRefused, Unknown
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory import accounts as rows
from entrepot.server.access.directory.accounts import Account
from entrepot.server.access.directory.grants import (
    GrantRow,
    add_grant,
    list_grants,
    list_reach,
    reach_of_role,
)
from entrepot.server.access.directory.names import parse_robot_name
from entrepot.server.access.directory.projects import get_project
from entrepot.server.access.secrets.access_tokens import rotate_robot_secret
from entrepot.server.access.sign_in import workload
from entrepot.server.access.sign_in.workload import DEFAULT_AUDIENCE, WELL_KNOWN_ISSUERS, WorkloadRule
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = [
    "DEFAULT_AUDIENCE",
    "WELL_KNOWN_ISSUERS",
    "Account",
    "GrantRow",
    "IssuerNotKnown",
    "RobotDetails",
    "RobotSecret",
    "WorkloadRule",
    "change_robot",
    "create_robot",
    "delete_robot",
    "distrust_jobs",
    "list_robots",
    "list_robots_with_grants",
    "list_trusts",
    "rotate_secret",
    "show_robot",
    "trust_jobs",
]


class IssuerNotKnown(PermitRefused):
    """The server would fetch from an address that no admin has named yet."""

    code: ClassVar[str] = "issuer-not-known"


@dataclass(frozen=True, slots=True)
class RobotSecret:
    """A robot with its new secret, which is nowhere else."""

    robot: Account
    secret: str


@dataclass(frozen=True, slots=True)
class RobotDetails:
    robot: Account
    grants: list[GrantRow]
    """In its project; everywhere for those who may see the whole registry."""
    trusts: list[WorkloadRule]


async def list_robots(
    services: Services, actor: Actor, *, project: str | None = None, last: str = "", n: int = 100
) -> list[Account]:
    """By name, after `last`; of all projects for those who may see the whole registry. Raises Unknown."""

    def see(t: Transaction) -> list[Account]:
        _require(t, Action.READ_MEMBERS, Action.READ_SYSTEM, project)
        project_id = get_project(t.connection, project).id if project is not None else None
        return rows.list_accounts(t.connection, kind="robot", project_id=project_id, last=last, n=n)

    return await look(services, actor, see)


async def list_robots_with_grants(
    services: Services, actor: Actor, project: str, *, n: int
) -> list[tuple[Account, list[GrantRow]]]:
    """The first `n` by name, each with its roles in the project. Raises Unknown."""

    def see(t: Transaction) -> list[tuple[Account, list[GrantRow]]]:
        t.require(Action.READ_MEMBERS, project=project)
        found = get_project(t.connection, project)
        robots = rows.list_accounts(t.connection, kind="robot", project_id=found.id, n=n)
        grants: dict[str, list[GrantRow]] = {robot.name: [] for robot in robots}
        for grant in list_grants(t.connection, project_id=found.id, n=n * 2):
            if grant.principal in grants:
                grants[grant.principal].append(grant)
        return [(robot, grants[robot.name]) for robot in robots]

    return await look(services, actor, see)


async def show_robot(services: Services, actor: Actor, name: str, *, project: str) -> RobotDetails:
    """Raises Unknown."""

    def see(t: Transaction) -> RobotDetails:
        t.require(Action.READ_MEMBERS, project=project)
        robot = _robot(t, name, project)
        # Where else it may go is not theirs to know who look after this project.
        only = None if t.may(Action.READ_SYSTEM) else robot.project_id
        grants = list_grants(t.connection, principal_id=robot.id, project_id=only)
        return RobotDetails(robot, grants, workload.list_rules(t.connection, robot=name))

    return await look(services, actor, see)


async def create_robot(
    services: Services,
    actor: Actor,
    *,
    name: str,
    role: str | None = None,
    repositories: str | None = None,
    tags: str | None = None,
    description: str = "",
    expires_at: int | None = None,
) -> RobotSecret:
    """With `role` it may do something at once, no more than the actor.

    Raises InvalidName, AlreadyExists, Unknown (project, role), InvalidPattern, AccessDenied.
    """

    def do(t: Transaction) -> RobotSecret:
        project, _short = parse_robot_name(name)
        _require(t, Action.MANAGE_ROBOTS, Action.MANAGE_SYSTEM, project)
        if role is not None and project is None:
            raise InvalidInput(
                "a robot of the registry has no project of its own",
                hint="give it grants in projects: entrepot admin grant add",
            )
        if role is not None and project is not None:
            t.require_reach(project, reach_of_role(t.connection, role, tags))
        made = rows.create_robot(
            t.connection,
            t.actor,
            now=t.now,
            name=name,
            description=description,
            expires_at=expires_at,
        )
        if role is not None and made.project_id is not None:
            add_grant(
                t.connection,
                t.actor,
                now=t.now,
                project_id=made.project_id,
                role_name=role,
                principal_id=made.id,
                repositories=repositories,
                tags=tags,
            )
        return _new_secret(t, made, overlap=0)

    return await change(services, actor, do)


async def change_robot(
    services: Services,
    actor: Actor,
    name: str,
    changes: Mapping[str, Any],
    *,
    project: str | None = None,
    expected_version: int | None = None,
) -> Account:
    """`description`, `enabled`, `expires_at`. Raises Unknown, VersionMismatch."""

    def do(t: Transaction) -> Account:
        found = _managed(t, name, project)
        return rows.change_account(
            t.connection, t.actor, found, changes, now=t.now, expected_version=expected_version
        )

    return await change(services, actor, do)


async def delete_robot(services: Services, actor: Actor, name: str, *, project: str | None = None) -> None:
    """It is refused at once. Raises Unknown."""

    def do(t: Transaction) -> None:
        rows.delete_account(t.connection, t.actor, _managed(t, name, project), now=t.now)

    await change(services, actor, do)


async def rotate_secret(
    services: Services, actor: Actor, name: str, *, project: str | None = None, overlap: int = 0
) -> RobotSecret:
    """The old secret works on for `overlap` microseconds. Raises Unknown, AccessDenied."""

    def do(t: Transaction) -> RobotSecret:
        return _new_secret(t, _held(t, name, project), overlap=overlap)

    return await change(services, actor, do)


async def list_trusts(
    services: Services, actor: Actor, name: str, *, project: str | None = None
) -> list[WorkloadRule]:
    """Which CI jobs are let in as this robot. Raises Unknown."""

    def see(t: Transaction) -> list[WorkloadRule]:
        home = project or _home(name)
        _require(t, Action.READ_MEMBERS, Action.READ_SYSTEM, home)
        _robot(t, name, home)
        return workload.list_rules(t.connection, robot=name)

    return await look(services, actor, see)


async def trust_jobs(
    services: Services,
    actor: Actor,
    name: str,
    *,
    project: str | None = None,
    issuer: str,
    claims: Mapping[str, str],
    audience: str = DEFAULT_AUDIENCE,
) -> int:
    """Jobs of `issuer` whose token has these claims (globs) log in as the robot. Returns the rule's number.

    Raises Unknown, InvalidPattern (any job would fit), AccessDenied, IssuerNotKnown.
    """

    def do(t: Transaction) -> int:
        robot = _held(t, name, project)
        if not workload.issuer_is_known(t.connection, issuer) and not t.may(Action.MANAGE_SYSTEM):
            raise IssuerNotKnown("only an admin can name an issuer that is not known here yet", rule="issuer")
        return workload.add_rule(
            t.connection,
            t.actor,
            now=t.now,
            robot_id=robot.id,
            issuer=issuer,
            claims=claims,
            audience=audience,
        )

    return await change(services, actor, do)


async def distrust_jobs(
    services: Services, actor: Actor, name: str, rule: int, *, project: str | None = None
) -> None:
    """Raises Unknown."""

    def do(t: Transaction) -> None:
        robot = _managed(t, name, project)
        workload.remove_rule(t.connection, t.actor, rule, robot_id=robot.id, now=t.now)

    await change(services, actor, do)


def _require(t: Transaction, in_project: Action, in_registry: Action, project: str | None) -> None:
    if project is None:
        t.require(in_registry)
    else:
        t.require(in_project, project=project)


def _robot(t: Transaction, name: str, project: str | None) -> Account:
    """Through its project: a robot of another one is not found. Raises Unknown."""
    found = rows.get_account(t.connection, name, kind="robot")
    if found.project_id != (get_project(t.connection, project).id if project is not None else None):
        raise Unknown(f"no robot is called {name}")
    return found


def _home(name: str) -> str | None:
    """The project in a robot's name."""
    return name.partition("+")[0] or None


def _managed(t: Transaction, name: str, project: str | None) -> Account:
    """A robot that the actor looks after. Raises Unknown, AccessDenied."""
    home = project or _home(name)
    _require(t, Action.MANAGE_ROBOTS, Action.MANAGE_SYSTEM, home)
    found = _robot(t, name, home)
    if home is not None:
        # Who looks after robots for some tags alone leaves those alone that have others in their grants.
        t.require_reach(home, {(Action.MANAGE_ROBOTS, tags) for _action, tags in _reach(t, found)})
    return found


def _held(t: Transaction, name: str, project: str | None) -> Account:
    """A robot that the actor looks after and may do everything as. Raises Unknown, AccessDenied."""
    found = _managed(t, name, project)
    home = project or _home(name)
    if home is not None:
        t.require_reach(home, _reach(t, found))
    return found


def _reach(t: Transaction, robot: Account) -> set[tuple[str, str]]:
    """All that a robot may do in its project."""
    assert robot.project_id is not None
    return list_reach(t.connection, principal_id=robot.id, project_id=robot.project_id)


def _new_secret(t: Transaction, robot: Account, *, overlap: int) -> RobotSecret:
    made = rotate_robot_secret(
        t.connection, t.actor, now=t.now, robot_id=robot.id, robot=robot.name, overlap=overlap
    )
    return RobotSecret(robot, str(made.text))
