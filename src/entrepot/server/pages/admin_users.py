"""Users as admins see them."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from entrepot.errors import EntrepotError
from entrepot.server.access.decision.errors import AlreadyExists, InvalidName, VersionMismatch
from entrepot.server.access.decision.model import Action, SystemRole
from entrepot.server.control import tokens, users
from entrepot.server.control.transaction import require_in_person
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.forms import PageForm, is_confirmed
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]

ROWS: Final = 100
_SYSTEM_ROLES: Final = ("", "auditor", "admin")


@page("/admin/users", Action.READ_SYSTEM)
async def list_users(visit: PageVisit) -> Response[Any]:
    visit.require_accounts()
    return await _users_page(visit, PageForm())


async def _users_page(visit: PageVisit, form: PageForm, status: int = 200) -> Response[Any]:
    last, wanted = visit.query("after"), visit.query("find", longest=128).lower()
    rows = await users.list_users(visit.services, visit.caller, last=last, n=ROWS + 1, contains=wanted)
    more = rows[ROWS - 1].name if len(rows) > ROWS else None
    return visit.render(
        "admin_users.html",
        status=status,
        tab="users",
        rows=rows[:ROWS],
        wanted=wanted,
        form=form,
        next=addresses.admin("users", find=wanted, after=more) if more else None,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/users", Action.MANAGE_SYSTEM)
async def add_user(visit: PageVisit) -> Response[Any]:
    """Answers with the user's page, on it the link with which they choose a password."""
    visit.require_accounts()
    require_in_person(visit.services, visit.caller)
    form = await visit.form()
    name = form.text("name", required="Give a user name, as alice.", longest=128).lower()
    display_name = form.text("display_name", longest=200)
    email = form.text("email", longest=200)
    role = form.choice("system_role", _SYSTEM_ROLES)
    if form.is_good:
        try:
            made = await users.invite_user(
                visit.services,
                visit.caller,
                name=name,
                display_name=display_name,
                email=email,
                system_role=SystemRole(role) if role else None,
            )
            return await _user_page(visit, name, link=made.secret)
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name"})
    return await _users_page(visit, form, 400)


@page("/admin/users/{user:str}", Action.READ_SYSTEM)
async def user(visit: PageVisit, user: str) -> Response[Any]:
    visit.require_accounts()
    return await _user_page(visit, user)


async def _user_page(
    visit: PageVisit,
    name: str,
    *,
    link: str = "",
    form: PageForm | None = None,
    confirm: PageForm | None = None,
    status: int = 200,
) -> Response[Any]:
    found = await users.show_user_details(visit.services, visit.caller, name)
    account = found.account
    return visit.render(
        "admin_user.html",
        status=status,
        tab="users",
        account=account,
        tokens=found.tokens,
        grants=found.grants,
        teams=found.teams,
        link=f"{visit.caller.base_url}/setup?token={link}" if link else "",
        confirm=confirm or PageForm(),
        form=form
        or PageForm(
            display_name=account.display_name,
            email=account.email,
            system_role=account.system_role or "",
            enabled="yes" if account.enabled else "",
            may_create_projects="yes" if account.may_create_projects else "",
            version=str(account.version),
        ),
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/users/{user:str}", Action.MANAGE_SYSTEM)
async def change_user(visit: PageVisit, user: str) -> Response[Any]:
    """Somebody disabled is refused from the next request on."""
    visit.require_accounts()
    require_in_person(visit.services, visit.caller)
    form = await visit.form()
    changes = {
        "display_name": form.text("display_name", longest=200),
        "email": form.text("email", longest=200),
        "system_role": form.choice("system_role", _SYSTEM_ROLES) or None,
        "enabled": form.flag("enabled"),
        "may_create_projects": form.flag("may_create_projects"),
    }
    version = int(form["version"]) if form["version"].isdigit() else None
    if form.is_good:
        try:
            await users.change_user(visit.services, visit.caller, user, changes, expected_version=version)
            return visit.go(addresses.admin("users", user), "Saved.")
        except VersionMismatch:
            form.problem = "Somebody else changed this user meanwhile. Load the page again."
        except EntrepotError as error:
            form.blame(error)
    return await _user_page(visit, user, form=form, status=400)


@submit("/admin/users/{user:str}/link", Action.MANAGE_SYSTEM)
async def make_link(visit: PageVisit, user: str) -> Response[Any]:
    """For a new or forgotten password; works once, for a day."""
    visit.require_accounts()
    require_in_person(visit.services, visit.caller)
    link = await users.make_setup_link(visit.services, visit.caller, user)
    return await _user_page(visit, user, link=link)


@submit("/admin/users/{user:str}/revoke", Action.MANAGE_SYSTEM)
async def revoke_token(visit: PageVisit, user: str) -> Response[Any]:
    """A token or session of somebody else."""
    visit.require_accounts()
    token = (await visit.form()).text("token", longest=40)
    await tokens.revoke_token(visit.services, visit.caller, token, user=user)
    return visit.go(addresses.admin("users", user), "Revoked.")


@submit("/admin/users/{user:str}/delete", Action.MANAGE_SYSTEM)
async def remove_user(visit: PageVisit, user: str) -> Response[Any]:
    """With tokens, memberships and grants; what they pushed stays."""
    visit.require_accounts()
    confirm = await visit.form()
    if not is_confirmed(confirm, user):
        return await _user_page(visit, user, confirm=confirm, status=400)
    await users.delete_user(visit.services, visit.caller, user)
    return visit.go("/admin/users", f"{user} is deleted.")


ROUTES = [list_users, add_user, user, change_user, make_link, revoke_token, remove_user]
