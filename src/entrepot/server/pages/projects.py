"""A project: its repositories, and making one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from litestar import Response

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.access.decision.errors import AlreadyExists, InvalidName
from entrepot.server.access.decision.model import Action
from entrepot.server.control import deletion, projects
from entrepot.server.control.projects import Project
from entrepot.server.control.repositories import (
    RepositoryOrder,
    list_deleted_repositories,
    page_of_repositories,
)
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.paging import MAX_PAGE, pager
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES", "VISIBILITIES", "ProjectHead", "project_head"]

PAGE = 30
VISIBILITIES = ("private", "signed-in", "public")


@dataclass(frozen=True, slots=True)
class ProjectHead:
    """What stands above each page of a project: its name, and the tabs this visitor has."""

    project: Project
    tab: str
    may_see_members: bool
    may_see_activity: bool
    may_manage: bool


async def project_head(visit: PageVisit, name: str, tab: str) -> ProjectHead:
    """Raises Unknown."""
    found = await projects.show_head(visit.services, visit.caller, name)
    return ProjectHead(
        project=found,
        tab=tab,
        may_see_members=not visit.is_open and await visit.may(Action.READ_MEMBERS, project=name),
        may_see_activity=await visit.may(Action.READ_AUDIT, project=name),
        may_manage=await visit.may(Action.MANAGE_PROJECT, project=name),
    )


@page("/projects/{project:str}", Action.SEARCH)
async def show(visit: PageVisit, project: str) -> Response[Any]:
    """Also for those who see only some of its repositories."""
    order = cast("RepositoryOrder", visit.choice("sort", ("pushed", "name")))
    contains = visit.query("filter", longest=128)
    number = min(max(1, visit.number("page", default=1)), MAX_PAGE)
    found = await page_of_repositories(
        visit.services,
        visit.caller,
        order=order,
        offset=(number - 1) * PAGE,
        n=PAGE,
        project=project,
        contains=contains,
    )
    head = await project_head(visit, project, "repositories")
    gone = await list_deleted_repositories(visit.services, visit.caller, project)

    def address(other: int) -> str:
        return addresses.project(
            project,
            sort=order if order != "pushed" else None,
            filter=contains,
            page=other if other > 1 else None,
        )

    return visit.render(
        "project.html",
        head=head,
        rows=found.rows,
        seen=not found.is_empty,
        order=order,
        contains=contains,
        pager=pager(number, PAGE, found.total, address),
        gone=gone,
        may_push=await visit.may(Action.PUSH, repository=f"{project}/any"),
    )


@submit("/projects/{project:str}/restore-repository", Action.RESTORE)
async def restore(visit: PageVisit, project: str) -> Response[Any]:
    """Bring back a deleted repository of this project."""
    form = await visit.form()
    name = form.text("repository", required="Which one?", longest=255)
    if name.partition("/")[0] != project:
        raise InvalidInput(f"{name or 'nothing'} is not in project {project}")
    await deletion.restore_repository(visit.services, visit.caller, name)
    return visit.go(addresses.repository(name), f"{name} is back.")


@page("/new-project", Action.CREATE_PROJECT)
async def new(visit: PageVisit) -> Response[Any]:
    return visit.render("project_new.html", form=PageForm(visibility="private"))


@submit("/new-project", Action.CREATE_PROJECT)
async def create(visit: PageVisit) -> Response[Any]:
    """Whoever makes it owns it."""
    form = await visit.form()
    name = form.text("name", required="Give it a name, as acme.", longest=128)
    visibility = form.choice("visibility", VISIBILITIES)
    quota = form.size("quota")
    if form.is_good:
        try:
            await projects.create_project(
                visit.services, visit.caller, name=name, visibility=visibility, quota_bytes=quota
            )
            return visit.go(addresses.project(name), f"Project {name} created.")
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name"})
    return visit.render("project_new.html", status=400, form=form)


ROUTES = [show, restore, new, create]
