"""Who works in a project: members and what they may, robots and their secrets, trust in CI jobs."""

from __future__ import annotations

import re
from typing import Any, Final

from litestar import Response

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.access.decision.errors import (
    AlreadyExists,
    InvalidName,
    InvalidPattern,
    InvalidTagPattern,
    PermitRefused,
    Unknown,
)
from entrepot.server.access.decision.model import Action
from entrepot.server.control import grants, robots, roles, teams
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.commands import login_commands
from entrepot.server.pages.kit.forms import PageForm, is_confirmed
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit
from entrepot.server.pages.kit.words import day
from entrepot.server.pages.projects import project_head

__all__ = ["ROUTES"]

MOST: Final = 500
SECOND: Final = 1_000_000
"""In microseconds."""
_CLAIM: Final = re.compile(r"([A-Za-z0-9_.:/-]{1,100})\s*[=:]\s*(\S.*)\Z", re.DOTALL)


# --- members


@page("/projects/{project:str}/members", Action.READ_MEMBERS)
async def members(visit: PageVisit, project: str) -> Response[Any]:
    return await _members_page(visit, project, PageForm(kind="user", role="developer"))


async def _members_page(
    visit: PageVisit, project: str, form: PageForm, status: int = 200, *, leaving: int = 0, why: str = ""
) -> Response[Any]:
    head = await project_head(visit, project, "members")
    may_manage = await visit.may(Action.MANAGE_MEMBERS, project=project)
    found = await grants.list_grants(visit.services, visit.caller, project=project, n=MOST)
    choice = []
    if may_manage:
        choice = await teams.list_teams_to_add(visit.services, visit.caller, project=project, n=MOST)
    return visit.render(
        "project_members.html",
        status=status,
        head=head,
        grants=sorted(found, key=lambda g: (g.principal_kind == "robot", g.principal or g.team or "")),
        roles=await roles.list_roles(visit.services, visit.caller),
        teams=choice,
        may_manage=may_manage,
        form=form,
        leaving=next((grant for grant in found if grant.id == leaving), None),
        why=why,
    )


@submit("/projects/{project:str}/members", Action.MANAGE_MEMBERS)
async def add_member(visit: PageVisit, project: str) -> Response[Any]:
    form = await visit.form()
    kind = form.choice("kind", ("user", "team"))
    name = form.text("name", required="Whom?", longest=255).lower()
    role = form.text("role", required="Which role?", longest=64)
    repositories, tags = form.text("repositories"), form.text("tags", longest=128)

    if form.is_good:
        try:
            await grants.give_role(
                visit.services,
                visit.caller,
                project=project,
                role=role,
                principal=name if kind == "user" else None,
                team=name if kind == "team" else None,
                repositories=repositories or None,
                tags=tags or None,
            )
            return visit.go(addresses.project(project, "members"), f"{name} is {role} now.")
        except PermitRefused as error:
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
async def remove_member(visit: PageVisit, project: str) -> Response[Any]:
    """It ends with the next request of whoever held it. The last owner's, and one's own, after a question."""
    sent = await visit.form()
    number = _number(sent, "grant")
    try:
        gone = await grants.take_role(
            visit.services, visit.caller, number, project=project, was_asked=bool(sent["sure"])
        )
    except grants.OwnerLeaves as error:
        form = PageForm(kind="user", role="developer")
        return await _members_page(visit, project, form, 409, leaving=number, why=error.message)
    who = gone.principal or f"team {gone.team}"
    return visit.go(addresses.project(project, "members"), f"{who} is no {gone.role} any more.")


def _number(form: PageForm, name: str) -> int:
    text = form[name]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput("the form names nothing that could be changed")
    return int(text)


# --- robots


@page("/projects/{project:str}/robots", Action.READ_MEMBERS)
async def list_robots(visit: PageVisit, project: str) -> Response[Any]:
    return await _robots_page(visit, project, PageForm(role="developer"))


async def _robots_page(visit: PageVisit, project: str, form: PageForm, status: int = 200) -> Response[Any]:
    head = await project_head(visit, project, "robots")

    rows = await robots.list_robots_with_grants(visit.services, visit.caller, project, n=MOST)
    return visit.render(
        "project_robots.html",
        status=status,
        head=head,
        rows=rows,
        roles=await roles.list_roles(visit.services, visit.caller),
        may_manage=await visit.may(Action.MANAGE_ROBOTS, project=project),
        form=form,
    )


@submit("/projects/{project:str}/robots", Action.MANAGE_ROBOTS)
async def add_robot(visit: PageVisit, project: str) -> Response[Any]:
    """Answers with the robot's page, the secret on top of it."""
    form = await visit.form()
    name = form.text("name", required="Give it a name, as ci.", longest=64).lower()
    description = form.text("description", longest=300)
    role = form.text("role", required="Which role?", longest=64)
    repositories, tags = form.text("repositories"), form.text("tags", longest=128)
    expires_at = form.expiry("until", now=visit.now)

    if form.is_good:
        try:
            made = await robots.create_robot(
                visit.services,
                visit.caller,
                name=f"{project}+{name}",
                role=role,
                repositories=repositories or None,
                tags=tags or None,
                description=description,
                expires_at=expires_at,
            )
            return await _robot_page(visit, project, made.robot.name, secret=made.secret)
        except InvalidPattern as error:
            form.blame(error, {InvalidTagPattern: "tags", InvalidPattern: "repositories"})
        except PermitRefused as error:
            form.refuse("role", f"You can't give what you don't have: {error.message}.")
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name", Unknown: "role"})
    return await _robots_page(visit, project, form, 400)


@page("/projects/{project:str}/robots/{robot:str}", Action.READ_MEMBERS)
async def robot(visit: PageVisit, project: str, robot: str) -> Response[Any]:
    return await _robot_page(visit, project, robot)


async def _robot_page(
    visit: PageVisit,
    project: str,
    name: str,
    *,
    secret: str = "",
    status: int = 200,
    settings: PageForm | None = None,
    trust: PageForm | None = None,
    confirm: PageForm | None = None,
) -> Response[Any]:
    head = await project_head(visit, project, "robots")

    found = await robots.show_robot(visit.services, visit.caller, name, project=project)
    expires_at = found.robot.expires_at
    return visit.render(
        "robot.html",
        status=status,
        head=head,
        robot=found.robot,
        grants=found.grants,
        rules=found.trusts,
        may_manage=await visit.may(Action.MANAGE_ROBOTS, project=project),
        may_change_roles=await visit.may(Action.MANAGE_MEMBERS, project=project),
        secret=secret,
        commands=login_commands(visit.host, name, secret) if secret else [],
        # The last day it works, not the moment after it.
        settings=settings
        or PageForm(
            description=found.robot.description,
            until=day(expires_at - SECOND) if expires_at else "",
            enabled="yes" if found.robot.enabled else "",
        ),
        trust=trust or PageForm(issuer="https://token.actions.githubusercontent.com"),
        issuers=sorted(robots.WELL_KNOWN_ISSUERS),
        confirm=confirm or PageForm(),
    )


@submit("/projects/{project:str}/robots/{robot:str}", Action.MANAGE_ROBOTS)
async def change_robot(visit: PageVisit, project: str, robot: str) -> Response[Any]:
    form = await visit.form()
    changes: dict[str, Any] = {
        "description": form.text("description", longest=300),
        "expires_at": form.expiry("until", now=visit.now),
        "enabled": form.flag("enabled"),
    }
    if not form.is_good:
        return await _robot_page(visit, project, robot, status=400, settings=form)
    await robots.change_robot(visit.services, visit.caller, robot, changes, project=project)
    return visit.go(addresses.project(project, "robots", robot), "Saved.")


@submit("/projects/{project:str}/robots/{robot:str}/secret", Action.MANAGE_ROBOTS)
async def new_secret(visit: PageVisit, project: str, robot: str) -> Response[Any]:
    """The old one works on for an hour when asked to."""
    form = await visit.form()
    overlap = 3600 * SECOND if form.flag("overlap") else 0
    made = await robots.rotate_secret(visit.services, visit.caller, robot, project=project, overlap=overlap)
    return await _robot_page(visit, project, robot, secret=made.secret)


@submit("/projects/{project:str}/robots/{robot:str}/delete", Action.MANAGE_ROBOTS)
async def remove_robot(visit: PageVisit, project: str, robot: str) -> Response[Any]:
    confirm = await visit.form()
    if not is_confirmed(confirm, robot):
        return await _robot_page(visit, project, robot, status=400, confirm=confirm)
    await robots.delete_robot(visit.services, visit.caller, robot, project=project)
    return visit.go(addresses.project(project, "robots"), f"{robot} is gone; its secret works no more.")


@submit("/projects/{project:str}/robots/{robot:str}/trusts", Action.MANAGE_ROBOTS)
async def add_trust(visit: PageVisit, project: str, robot: str) -> Response[Any]:
    """Lets CI jobs in without a secret."""
    form = await visit.form()
    issuer = form.text("issuer", required="Whose tokens?", longest=500).rstrip("/")
    claims = _claims(form)
    if form.is_good:
        try:
            await robots.trust_jobs(
                visit.services, visit.caller, robot, project=project, issuer=issuer, claims=claims
            )
            note = f"Jobs that fit sign in as {robot}."
            return visit.go(addresses.project(project, "robots", robot), note)
        except robots.IssuerNotKnown as error:
            form.blame(error, "issuer")
        except PermitRefused:
            raise
        except InvalidPattern as error:
            form.blame(error, "claims")
        except EntrepotError as error:
            form.blame(error, "issuer")
    return await _robot_page(visit, project, robot, status=400, trust=form)


def _claims(form: PageForm) -> dict[str, str]:
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
async def remove_trust(visit: PageVisit, project: str, robot: str) -> Response[Any]:
    number = _number(await visit.form(), "rule")
    await robots.distrust_jobs(visit.services, visit.caller, robot, number, project=project)
    return visit.go(addresses.project(project, "robots", robot), "These jobs are not let in any more.")


ROUTES = [
    members,
    add_member,
    remove_member,
    list_robots,
    add_robot,
    robot,
    change_robot,
    new_secret,
    remove_robot,
    add_trust,
    remove_trust,
]
