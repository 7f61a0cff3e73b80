"""A project's settings, usage and audit log."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from entrepot.errors import EntrepotError
from entrepot.server.access.decision.errors import VersionMismatch
from entrepot.server.access.decision.model import Action
from entrepot.server.control import audit, projects
from entrepot.server.control.repositories import biggest_repositories
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import Note, PageVisit
from entrepot.server.pages.kit.words import human_size
from entrepot.server.pages.projects import VISIBILITIES, project_head

__all__ = ["ROUTES"]

ROWS: Final = 100
BIGGEST: Final = 20


@page("/projects/{project:str}/activity", Action.READ_AUDIT)
async def activity(visit: PageVisit, project: str) -> Response[Any]:
    """Who changed what, newest first."""
    head = await project_head(visit, project, "activity")
    action, principal = visit.query("action", longest=64), visit.query("who")
    before = visit.number("before")

    rows = await audit.list_audit_of_project(
        visit.services,
        visit.caller,
        project,
        before=before or None,
        n=ROWS + 1,
        action=action or None,
        principal=principal or None,
    )
    more = rows[ROWS - 1].seq if len(rows) > ROWS else None
    return visit.render(
        "project_activity.html",
        head=head,
        rows=rows[:ROWS],
        action=action,
        who=principal,
        next=addresses.project(project, "activity", before=more, action=action, who=principal)
        if more
        else None,
    )


@page("/projects/{project:str}/settings", Action.MANAGE_PROJECT)
async def settings(visit: PageVisit, project: str) -> Response[Any]:
    found = await projects.show_project(visit.services, visit.caller, project)
    quota = human_size(found.quota_bytes) if found.quota_bytes is not None else ""
    if found.quota_bytes is not None and _bytes(quota) != found.quota_bytes:
        quota = str(found.quota_bytes)
    form = PageForm(visibility=found.visibility, quota=quota, version=found.version)
    return await _settings_page(visit, project, form, PageForm())


def _bytes(text: str) -> int | None:
    return PageForm(quota=text).size("quota")


async def _settings_page(
    visit: PageVisit, project: str, form: PageForm, confirm: PageForm, status: int = 200
) -> Response[Any]:
    head = await project_head(visit, project, "settings")
    biggest = await biggest_repositories(visit.services, visit.caller, project, n=BIGGEST)
    return visit.render(
        "project_settings.html",
        status=status,
        head=head,
        form=form,
        confirm=confirm,
        biggest=biggest,
        may_delete=await visit.may(Action.DELETE_PROJECT, project=project),
    )


@submit("/projects/{project:str}/settings", Action.MANAGE_PROJECT)
async def change(visit: PageVisit, project: str) -> Response[Any]:
    form = await visit.form()
    changes = {"visibility": form.choice("visibility", VISIBILITIES), "quota_bytes": form.size("quota")}
    version = form.text("version", longest=200)

    if form.is_good:
        try:
            await projects.change_project(
                visit.services, visit.caller, project, changes, expected_version=version or None
            )
            return visit.go(addresses.project(project, "settings"), "Saved.")
        except VersionMismatch:
            present = await projects.show_project(visit.services, visit.caller, project)
            form = PageForm(visibility=form["visibility"], quota=form["quota"], version=present.version)
            form.problem = "Somebody else changed these settings meanwhile. Save again to replace theirs."
        except EntrepotError as error:
            form.blame(error, "quota")
    return await _settings_page(visit, project, form, PageForm(), 400)


@submit("/projects/{project:str}/delete", Action.DELETE_PROJECT)
async def remove(visit: PageVisit, project: str) -> Response[Any]:
    """With its repositories; an admin can bring it back until the undo window ends."""
    confirm = await visit.form()
    found = await projects.show_project(visit.services, visit.caller, project)
    if confirm.text("name") != project:
        confirm.refuse("name", f"Type {project} to delete it.")
        form = PageForm(
            visibility=found.visibility, quota=str(found.quota_bytes or ""), version=found.version
        )
        return await _settings_page(visit, project, form, confirm, 400)
    await projects.delete_project(visit.services, visit.caller, project)
    note = Note(f"Project {project} is deleted.")
    if await visit.may(Action.MANAGE_SYSTEM):
        undo = addresses.admin("restore-project")
        note = Note(f"Project {project} is deleted.", undo=undo, fields={"project": project})
    return visit.go("/projects", note)


ROUTES = [activity, settings, change, remove]
