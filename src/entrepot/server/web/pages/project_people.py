"""Who works in a project: members and what they may, robots and their secrets, trust in CI jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from litestar import Response
from sqlalchemy import Connection

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.access.access_tokens import rotate_robot_secret
from entrepot.server.access.accounts import (
    Account,
    change_account,
    create_robot,
    delete_account,
    get_account,
    list_accounts,
)
from entrepot.server.access.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidName,
    InvalidPattern,
    InvalidTagPattern,
    Unknown,
)
from entrepot.server.access.grants import (
    GrantRow,
    add_grant,
    get_grant,
    list_grants,
    reach_of_role,
    remove_grant,
)
from entrepot.server.access.model import Action
from entrepot.server.access.projects import get_project
from entrepot.server.access.role_table import Role, list_roles
from entrepot.server.access.teams import Team, get_team, list_teams
from entrepot.server.access.workload import (
    WELL_KNOWN_ISSUERS,
    WorkloadRule,
    add_rule,
    issuer_is_known,
    list_rules,
    remove_rule,
)
from entrepot.server.db.clock import SECOND
from entrepot.server.web import addresses
from entrepot.server.web.commands import login_commands
from entrepot.server.web.forms import Form, is_confirmed
from entrepot.server.web.pages.projects import project_head
from entrepot.server.web.people import find_robot, reach_of_robot
from entrepot.server.web.route import page, submit
from entrepot.server.web.visit import Visit

__all__ = ["ROUTES"]

MOST: Final = 500
_CLAIM: Final = re.compile(r"([A-Za-z0-9_.:/-]{1,100})\s*[=:]\s*(\S.*)\Z", re.DOTALL)


# --- members


@page("/projects/{project:str}/members", Action.READ_MEMBERS)
async def members(visit: Visit, project: str) -> Response[Any]:
    return await _members_page(visit, project, Form(kind="user", role="developer"))


async def _members_page(visit: Visit, project: str, form: Form, status: int = 200) -> Response[Any]:
    head = await project_head(visit, project, "members")
    may_manage = await visit.may(Action.MANAGE_MEMBERS, project=project)

    def read(connection: Connection) -> tuple[list[GrantRow], list[Role], list[Team]]:
        grants = list_grants(connection, project_id=head.project.id, n=MOST)
        return grants, list_roles(connection), list_teams(connection, n=MOST) if may_manage else []

    grants, roles, teams = await visit.read(read)
    return visit.render(
        "project_members.html",
        status=status,
        head=head,
        grants=sorted(grants, key=lambda g: (g.principal_kind == "robot", g.principal or g.team or "")),
        roles=roles,
        teams=teams,
        may_manage=may_manage,
        form=form,
    )


@submit("/projects/{project:str}/members", Action.MANAGE_MEMBERS)
async def add_member(visit: Visit, project: str) -> Response[Any]:
    form = await visit.form()
    kind = form.choice("kind", ("user", "team"))
    name = form.text("name", required="Whom?", longest=255).lower()
    role = form.text("role", required="Which role?", longest=64)
    repositories, tags = form.text("repositories"), form.text("tags", longest=128)

    def write(connection: Connection) -> None:
        add_grant(
            connection,
            visit.caller.actor,
            now=visit.now,
            project_id=get_project(connection, project).id,
            role_name=role,
            principal_id=get_account(connection, name).id if kind == "user" else None,
            team_id=get_team(connection, name).id if kind == "team" else None,
            repositories=repositories or None,
            tags=tags or None,
        )

    if form.is_good:
        try:
            await visit.api.require_reach(visit.caller, project, await visit.read(reach_of_role, role, tags))
            await visit.write(write)
            return visit.go(addresses.project(project, "members"), f"{name} is {role} now.")
        except AccessDenied as error:
            form.refuse("role", f"You can't give what you don't have: {error.message}.")
        except InvalidPattern as error:
            form.blame(error, {InvalidTagPattern: "tags", InvalidPattern: "repositories"})
        except EntrepotError as error:
            form.blame(error, {Unknown: "name", AlreadyExists: "name"})
            if kind == "user" and isinstance(error, Unknown):
                form.errors["name"] += (
                    " Make the account first: Admin, Users."
                    if await visit.may(Action.MANAGE_SYSTEM)
                    else " Ask an admin to make the account."
                )
    return await _members_page(visit, project, form, 400)


@submit("/projects/{project:str}/members/remove", Action.MANAGE_MEMBERS)
async def remove_member(visit: Visit, project: str) -> Response[Any]:
    """It ends with the next request of whoever held it."""
    number = _number(await visit.form(), "grant")

    def write(connection: Connection) -> GrantRow:
        found = get_grant(connection, number, project_id=get_project(connection, project).id)
        remove_grant(connection, visit.caller.actor, found, now=visit.now)
        return found

    gone = await visit.write(write)
    who = gone.principal or f"team {gone.team}"
    return visit.go(addresses.project(project, "members"), f"{who} is no {gone.role} any more.")


def _number(form: Form, name: str) -> int:
    text = form[name]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput("the form names nothing that could be changed")
    return int(text)


# --- robots


@page("/projects/{project:str}/robots", Action.READ_MEMBERS)
async def robots(visit: Visit, project: str) -> Response[Any]:
    return await _robots_page(visit, project, Form(role="developer"))


async def _robots_page(visit: Visit, project: str, form: Form, status: int = 200) -> Response[Any]:
    head = await project_head(visit, project, "robots")

    def read(connection: Connection) -> tuple[list[Account], dict[int, list[GrantRow]], list[Role]]:
        rows = list_accounts(connection, kind="robot", project_id=head.project.id, n=MOST)
        grants: dict[int, list[GrantRow]] = {row.id: [] for row in rows}
        by_name = {row.name: row.id for row in rows}
        for grant in list_grants(connection, project_id=head.project.id, n=MOST * 2):
            if grant.principal in by_name:
                grants[by_name[grant.principal]].append(grant)
        return rows, grants, list_roles(connection)

    rows, grants, roles = await visit.read(read)
    return visit.render(
        "project_robots.html",
        status=status,
        head=head,
        rows=rows,
        grants=grants,
        roles=roles,
        may_manage=await visit.may(Action.MANAGE_ROBOTS, project=project),
        form=form,
    )


@submit("/projects/{project:str}/robots", Action.MANAGE_ROBOTS)
async def add_robot(visit: Visit, project: str) -> Response[Any]:
    """Answers with the robot's page, the secret on top of it."""
    form = await visit.form()
    name = form.text("name", required="Give it a name, as ci.", longest=64).lower()
    description = form.text("description", longest=300)
    role = form.text("role", required="Which role?", longest=64)
    repositories, tags = form.text("repositories"), form.text("tags", longest=128)
    expires_at = form.expiry("until", now=visit.now)

    def write(connection: Connection) -> tuple[Account, str]:
        found = get_project(connection, project)
        made = create_robot(
            connection,
            visit.caller.actor,
            now=visit.now,
            name=f"{project}+{name}",
            description=description,
            expires_at=expires_at,
        )
        add_grant(
            connection,
            visit.caller.actor,
            now=visit.now,
            project_id=found.id,
            role_name=role,
            principal_id=made.id,
            repositories=repositories or None,
            tags=tags or None,
        )
        secret = rotate_robot_secret(
            connection, visit.caller.actor, now=visit.now, robot_id=made.id, robot=made.name, overlap=0
        )
        return made, str(secret.text)

    if form.is_good:
        try:
            await visit.api.require_reach(visit.caller, project, await visit.read(reach_of_role, role, tags))
            made, secret = await visit.write(write)
            return await _robot_page(visit, project, made.name, secret=secret)
        except InvalidPattern as error:
            form.blame(error, {InvalidTagPattern: "tags", InvalidPattern: "repositories"})
        except AccessDenied as error:
            form.refuse("role", f"You can't give what you don't have: {error.message}.")
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name", Unknown: "role"})
    return await _robots_page(visit, project, form, 400)


@dataclass(frozen=True, slots=True)
class _Robot:
    account: Account
    grants: list[GrantRow]
    rules: list[WorkloadRule]


@page("/projects/{project:str}/robots/{robot:str}", Action.READ_MEMBERS)
async def robot(visit: Visit, project: str, robot: str) -> Response[Any]:
    return await _robot_page(visit, project, robot)


async def _robot_page(
    visit: Visit,
    project: str,
    name: str,
    *,
    secret: str = "",
    status: int = 200,
    settings: Form | None = None,
    trust: Form | None = None,
    confirm: Form | None = None,
) -> Response[Any]:
    head = await project_head(visit, project, "robots")

    def read(connection: Connection) -> _Robot:
        account = find_robot(connection, project, name)
        # Where else it may go is not theirs to know who look after this project.
        only = None if visit.is_operator else account.project_id
        grants = list_grants(connection, principal_id=account.id, project_id=only)
        return _Robot(account, grants, list_rules(connection, robot=name))

    found = await visit.read(read)
    expires_at = found.account.expires_at
    return visit.render(
        "robot.html",
        status=status,
        head=head,
        robot=found.account,
        grants=found.grants,
        rules=found.rules,
        may_manage=await visit.may(Action.MANAGE_ROBOTS, project=project),
        may_change_roles=await visit.may(Action.MANAGE_MEMBERS, project=project),
        secret=secret,
        commands=login_commands(visit.host, name, secret) if secret else [],
        # The last day it works, not the moment after it.
        settings=settings
        or Form(
            description=found.account.description,
            until=_day(expires_at - SECOND) if expires_at else "",
            enabled="yes" if found.account.enabled else "",
        ),
        trust=trust or Form(issuer="https://token.actions.githubusercontent.com"),
        issuers=sorted(WELL_KNOWN_ISSUERS),
        confirm=confirm or Form(),
    )


def _day(moment: int) -> str:
    from entrepot.server.web.words import day

    return day(moment)


@submit("/projects/{project:str}/robots/{robot:str}", Action.MANAGE_ROBOTS)
async def change_robot(visit: Visit, project: str, robot: str) -> Response[Any]:
    form = await visit.form()
    changes: dict[str, Any] = {
        "description": form.text("description", longest=300),
        "expires_at": form.expiry("until", now=visit.now),
        "enabled": form.flag("enabled"),
    }
    if not form.is_good:
        return await _robot_page(visit, project, robot, status=400, settings=form)

    def write(connection: Connection) -> None:
        found = find_robot(connection, project, robot)
        change_account(connection, visit.caller.actor, found, changes, now=visit.now)

    await visit.write(write)
    return visit.go(addresses.project(project, "robots", robot), "Saved.")


@submit("/projects/{project:str}/robots/{robot:str}/secret", Action.MANAGE_ROBOTS)
async def new_secret(visit: Visit, project: str, robot: str) -> Response[Any]:
    """The old one works on for an hour when asked to."""
    form = await visit.form()
    await visit.api.require_reach(visit.caller, project, await visit.read(reach_of_robot, project, robot))
    overlap = 3600 * SECOND if form.flag("overlap") else 0

    def write(connection: Connection) -> str:
        found = find_robot(connection, project, robot)
        secret = rotate_robot_secret(
            connection,
            visit.caller.actor,
            now=visit.now,
            robot_id=found.id,
            robot=found.name,
            overlap=overlap,
        )
        return str(secret.text)

    return await _robot_page(visit, project, robot, secret=await visit.write(write))


@submit("/projects/{project:str}/robots/{robot:str}/delete", Action.MANAGE_ROBOTS)
async def remove_robot(visit: Visit, project: str, robot: str) -> Response[Any]:
    confirm = await visit.form()
    if not is_confirmed(confirm, robot):
        return await _robot_page(visit, project, robot, status=400, confirm=confirm)

    def write(connection: Connection) -> None:
        found = find_robot(connection, project, robot)
        delete_account(connection, visit.caller.actor, found, now=visit.now)

    await visit.write(write)
    return visit.go(addresses.project(project, "robots"), f"{robot} is gone; its secret works no more.")


@submit("/projects/{project:str}/robots/{robot:str}/trusts", Action.MANAGE_ROBOTS)
async def add_trust(visit: Visit, project: str, robot: str) -> Response[Any]:
    """Lets CI jobs in without a secret."""
    form = await visit.form()
    issuer = form.text("issuer", required="Whose tokens?", longest=500).rstrip("/")
    claims = _claims(form)
    if form.is_good:
        try:
            await visit.api.require_reach(
                visit.caller, project, await visit.read(reach_of_robot, project, robot)
            )
            if not await visit.read(issuer_is_known, issuer):
                # The server will fetch from that address: not for everybody to choose.
                await visit.api.require(visit.caller, Action.MANAGE_SYSTEM, visit.resource())
            await visit.write(_add_trust, visit, project, robot, issuer, claims)
            note = f"Jobs that fit sign in as {robot}."
            return visit.go(addresses.project(project, "robots", robot), note)
        except AccessDenied:
            form.refuse("issuer", "Only an admin can name an issuer that is not known here yet.")
        except InvalidPattern as error:
            form.blame(error, "claims")
        except EntrepotError as error:
            form.blame(error, "issuer")
    return await _robot_page(visit, project, robot, status=400, trust=form)


def _add_trust(
    connection: Connection, visit: Visit, project: str, robot: str, issuer: str, claims: Mapping[str, str]
) -> None:
    robot_id = find_robot(connection, project, robot).id
    add_rule(connection, visit.caller.actor, now=visit.now, robot_id=robot_id, issuer=issuer, claims=claims)


def _claims(form: Form) -> dict[str, str]:
    """One a line: `repository = acme/app`."""
    claims = {}
    for line in form.body("claims", longest=4000).splitlines():
        if not line.strip():
            continue
        found = _CLAIM.match(line.strip())
        if found is None:
            form.refuse("claims", f"“{line.strip()[:60]}” is not of the form: name = value")
            return {}
        claims[found[1]] = found[2].strip()
    if not claims:
        form.refuse("claims", "Say which jobs, as: repository = acme/app")
    return claims


@submit("/projects/{project:str}/robots/{robot:str}/trusts/remove", Action.MANAGE_ROBOTS)
async def remove_trust(visit: Visit, project: str, robot: str) -> Response[Any]:
    number = _number(await visit.form(), "rule")

    def write(connection: Connection) -> None:
        found = find_robot(connection, project, robot)
        remove_rule(connection, visit.caller.actor, number, robot_id=found.id, now=visit.now)

    await visit.write(write)
    return visit.go(addresses.project(project, "robots", robot), "These jobs are not let in any more.")


ROUTES = [
    members,
    add_member,
    remove_member,
    robots,
    add_robot,
    robot,
    change_robot,
    new_secret,
    remove_robot,
    add_trust,
    remove_trust,
]
