"""Roles as admins see them: what each holds, and where somebody has it."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.access.decision.errors import AlreadyExists, InvalidName
from entrepot.server.access.decision.model import PROJECT_ACTIONS, Action
from entrepot.server.control import roles
from entrepot.server.pages.kit.forms import PageForm, is_confirmed
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]

_ACTIONS: Final[dict[str, str]] = {
    Action.READ: "see repositories, tags and sizes",
    Action.PULL: "fetch images",
    Action.PUSH: "upload images; tags need more",
    Action.CREATE_TAG: "set a tag that is free",
    Action.OVERWRITE_TAG: "move a tag that is taken",
    Action.DELETE_TAG: "take tags away",
    Action.DELETE_MANIFEST: "take images away",
    Action.DELETE_BLOB: "take single layers away",
    Action.CREATE_REPOSITORY: "make repositories by pushing",
    Action.DELETE_REPOSITORY: "take whole repositories away",
    Action.EDIT_REPOSITORY: "README, description, labels",
    Action.RESTORE: "bring back what was deleted",
    Action.READ_MEMBERS: "see members and robots",
    Action.MANAGE_MEMBERS: "give and take roles",
    Action.MANAGE_ROBOTS: "make robots and their secrets",
    Action.MANAGE_PROJECT: "who may pull, storage limit",
    Action.DELETE_PROJECT: "take the project away",
    Action.READ_AUDIT: "see who changed what",
}
"""What a role may hold, in words."""
assert _ACTIONS.keys() == PROJECT_ACTIONS


@page("/admin/roles", Action.READ_SYSTEM)
async def list_roles(visit: PageVisit) -> Response[Any]:
    visit.require_accounts()
    return await _roles_page(visit, PageForm())


async def _roles_page(visit: PageVisit, form: PageForm, status: int = 200) -> Response[Any]:
    rows = await roles.list_roles(visit.services, visit.caller)
    return visit.render(
        "admin_roles.html",
        status=status,
        tab="roles",
        rows=rows,
        form=form,
        chosen=form.many("actions"),
        actions=_ACTIONS,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/roles", Action.MANAGE_SYSTEM)
async def save_role(visit: PageVisit) -> Response[Any]:
    """A new custom role, or other actions for one that is there."""
    visit.require_accounts()
    form = await visit.form()
    name = form.text("name", required="Give it a name, as releaser.", longest=64).lower()
    description = form.text("description", longest=300)
    actions = [action for action in form.many("actions") if action in _ACTIONS]
    if not actions:
        form.refuse("actions", "Tick at least one action.")

    if form.is_good:
        try:
            if form["existing"] == name:
                await roles.change_role(
                    visit.services, visit.caller, name, actions=actions, description=description
                )
            else:
                await roles.create_role(
                    visit.services, visit.caller, name=name, actions=actions, description=description
                )
            return visit.go("/admin/roles", f"Role {name} is saved.")
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name"})
    if form["existing"]:
        return await _role_page(visit, form["existing"], form, form.many("actions"), 400)
    return await _roles_page(visit, form, 400)


@page("/admin/roles/{role:str}", Action.READ_SYSTEM)
async def role(visit: PageVisit, role: str) -> Response[Any]:
    """The form, with what the role holds now."""
    visit.require_accounts()
    found = await roles.show_role(visit.services, visit.caller, role)
    return await _role_page(
        visit, role, PageForm(name=found.name, description=found.description), list(found.actions)
    )


async def _role_page(
    visit: PageVisit,
    name: str,
    form: PageForm,
    chosen: list[str],
    status: int = 200,
    confirm: PageForm | None = None,
) -> Response[Any]:
    found = await roles.show_role(visit.services, visit.caller, name)
    if found.builtin:
        raise InvalidInput(
            f"role {name} is built in and stays as it is", hint="make a role of your own beside it"
        )
    return visit.render(
        "admin_role.html",
        status=status,
        tab="roles",
        role=found,
        holders=await roles.projects_with_role(visit.services, visit.caller, name),
        form=form,
        confirm=confirm or PageForm(),
        chosen=chosen,
        actions=_ACTIONS,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/roles/{role:str}/delete", Action.MANAGE_SYSTEM)
async def remove_role(visit: PageVisit, role: str) -> Response[Any]:
    visit.require_accounts()
    confirm = await visit.form()
    if not is_confirmed(confirm, role):
        found = await roles.show_role(visit.services, visit.caller, role)
        form = PageForm(name=found.name, description=found.description)
        return await _role_page(visit, role, form, list(found.actions), 400, confirm)
    await roles.delete_role(visit.services, visit.caller, role)
    return visit.go("/admin/roles", f"Role {role} is deleted.")


ROUTES = [list_roles, save_role, role, remove_role]
