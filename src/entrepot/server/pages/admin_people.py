"""Accounts as admins see them: users, teams, roles, sign-in sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, cast

from litestar import Response
from sqlalchemy import Connection

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.access.decision.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidName,
    Unknown,
    VersionMismatch,
)
from entrepot.server.access.decision.model import PROJECT_ACTIONS, Action, SystemRole
from entrepot.server.access.directory.accounts import (
    Account,
    change_account,
    create_user,
    delete_account,
    get_account,
    list_accounts,
)
from entrepot.server.access.directory.first_start import setup_link
from entrepot.server.access.directory.grants import GrantRow, list_grants
from entrepot.server.access.directory.role_table import (
    change_role,
    create_role,
    delete_role,
    get_role,
    list_roles,
    projects_with_role,
)
from entrepot.server.access.directory.teams import (
    Member,
    Team,
    add_member,
    change_team,
    create_team,
    delete_team,
    get_team,
    list_members,
    list_teams,
    remove_member,
)
from entrepot.server.access.secrets.access_tokens import AccessToken, get_token, list_tokens, revoke
from entrepot.server.access.sign_in.source_table import (
    Source,
    SourceKind,
    add_source,
    list_sources,
    remove_source,
    set_source_enabled,
)
from entrepot.server.access.sign_in.sources.ldap import LdapSettings
from entrepot.server.access.sign_in.sources.oidc import OidcSettings
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.forms import Form, is_confirmed
from entrepot.server.pages.kit.people import require_in_person
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import Visit

__all__ = ["ROUTES"]

ROWS: Final = 100
_SYSTEM_ROLES: Final = ("", "auditor", "admin")
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


def _require_accounts(visit: Visit) -> None:
    if visit.is_open:
        raise AccessDenied("this registry is open: it has no accounts", rule="open-mode")


async def _may_manage(visit: Visit) -> bool:
    return await visit.may(Action.MANAGE_SYSTEM)


# --- users


@page("/admin/users", Action.READ_SYSTEM)
async def users(visit: Visit) -> Response[Any]:
    _require_accounts(visit)
    return await _users_page(visit, Form())


async def _users_page(visit: Visit, form: Form, status: int = 200) -> Response[Any]:
    last, wanted = visit.query("after"), visit.query("find", longest=128).lower()

    def read(connection: Connection) -> list[Account]:
        return list_accounts(connection, kind="user", last=last, n=ROWS + 1, contains=wanted)

    rows = await visit.read(read)
    more = rows[ROWS - 1].name if len(rows) > ROWS else None
    return visit.render(
        "admin_users.html",
        status=status,
        tab="users",
        rows=rows[:ROWS],
        wanted=wanted,
        form=form,
        next=addresses.admin("users", find=wanted, after=more) if more else None,
        may_manage=await _may_manage(visit),
    )


@submit("/admin/users", Action.MANAGE_SYSTEM)
async def add_user(visit: Visit) -> Response[Any]:
    """Answers with the user's page, on it the link with which they choose a password."""
    _require_accounts(visit)
    require_in_person(visit)
    form = await visit.form()
    name = form.text("name", required="Give a user name, as alice.", longest=128).lower()
    display_name = form.text("display_name", longest=200)
    email = form.text("email", longest=200)
    role = form.choice("system_role", _SYSTEM_ROLES)

    def write(connection: Connection) -> str:
        create_user(
            connection,
            visit.caller,
            now=visit.now,
            name=name,
            display_name=display_name,
            email=email,
            system_role=SystemRole(role) if role else None,
        )
        return str(setup_link(connection, visit.caller, name, visit.now))

    if form.is_good:
        try:
            return await _user_page(visit, name, link=await visit.write(write))
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name"})
    return await _users_page(visit, form, 400)


@page("/admin/users/{user:str}", Action.READ_SYSTEM)
async def user(visit: Visit, user: str) -> Response[Any]:
    _require_accounts(visit)
    return await _user_page(visit, user)


async def _user_page(
    visit: Visit,
    name: str,
    *,
    link: str = "",
    form: Form | None = None,
    confirm: Form | None = None,
    status: int = 200,
) -> Response[Any]:
    def read(
        connection: Connection,
    ) -> tuple[Account, list[AccessToken], list[GrantRow], list[Team]]:
        account = get_account(connection, name, kind="user")
        return (
            account,
            list_tokens(connection, owner_id=account.id, kinds=("pat", "ses"), n=ROWS),
            list_grants(connection, principal_id=account.id, n=ROWS),
            list_teams(connection, member_id=account.id),
        )

    account, tokens, grants, teams = await visit.read(read)
    return visit.render(
        "admin_user.html",
        status=status,
        tab="users",
        account=account,
        tokens=[t for t in tokens if t.expires_at is None or t.expires_at > visit.now],
        grants=grants,
        teams=teams,
        link=f"{visit.caller.base_url}/setup?token={link}" if link else "",
        confirm=confirm or Form(),
        form=form
        or Form(
            display_name=account.display_name,
            email=account.email,
            system_role=account.system_role or "",
            enabled="yes" if account.enabled else "",
            may_create_projects="yes" if account.may_create_projects else "",
            version=str(account.version),
        ),
        may_manage=await _may_manage(visit),
    )


@submit("/admin/users/{user:str}", Action.MANAGE_SYSTEM)
async def change_user(visit: Visit, user: str) -> Response[Any]:
    """Somebody disabled is refused from the next request on."""
    _require_accounts(visit)
    require_in_person(visit)
    form = await visit.form()
    changes = {
        "display_name": form.text("display_name", longest=200),
        "email": form.text("email", longest=200),
        "system_role": form.choice("system_role", _SYSTEM_ROLES) or None,
        "enabled": form.flag("enabled"),
        "may_create_projects": form.flag("may_create_projects"),
    }
    version = int(form["version"]) if form["version"].isdigit() else None

    def write(connection: Connection) -> None:
        found = get_account(connection, user, kind="user")
        change_account(connection, visit.caller, found, changes, now=visit.now, expected_version=version)

    if form.is_good:
        try:
            await visit.write(write)
            return visit.go(addresses.admin("users", user), "Saved.")
        except VersionMismatch:
            form.problem = "Somebody else changed this user meanwhile. Load the page again."
        except EntrepotError as error:
            form.blame(error)
    return await _user_page(visit, user, form=form, status=400)


@submit("/admin/users/{user:str}/link", Action.MANAGE_SYSTEM)
async def make_link(visit: Visit, user: str) -> Response[Any]:
    """For a new or forgotten password; works once, for a day."""
    _require_accounts(visit)
    require_in_person(visit)
    link = await visit.write(setup_link, visit.caller, user, visit.now)
    return await _user_page(visit, user, link=str(link))


@submit("/admin/users/{user:str}/revoke", Action.MANAGE_SYSTEM)
async def revoke_token(visit: Visit, user: str) -> Response[Any]:
    """A token or session of somebody else."""
    _require_accounts(visit)
    token = (await visit.form()).text("token", longest=40)

    def write(connection: Connection) -> None:
        owner = get_account(connection, user, kind="user")
        revoke(connection, visit.caller, get_token(connection, token, owner_id=owner.id), now=visit.now)

    await visit.write(write)
    return visit.go(addresses.admin("users", user), "Revoked.")


@submit("/admin/users/{user:str}/delete", Action.MANAGE_SYSTEM)
async def remove_user(visit: Visit, user: str) -> Response[Any]:
    """With tokens, memberships and grants; what they pushed stays."""
    _require_accounts(visit)
    confirm = await visit.form()
    if not is_confirmed(confirm, user):
        return await _user_page(visit, user, confirm=confirm, status=400)

    def write(connection: Connection) -> None:
        found = get_account(connection, user, kind="user")
        delete_account(connection, visit.caller, found, now=visit.now)

    await visit.write(write)
    return visit.go("/admin/users", f"{user} is deleted.")


# --- teams


@page("/admin/teams", Action.READ_SYSTEM)
async def teams(visit: Visit) -> Response[Any]:
    _require_accounts(visit)
    return await _teams_page(visit, Form())


async def _teams_page(visit: Visit, form: Form, status: int = 200) -> Response[Any]:
    rows: list[Team] = await visit.read(lambda c: list_teams(c, n=1000))
    return visit.render(
        "admin_teams.html",
        status=status,
        tab="teams",
        rows=rows,
        form=form,
        may_manage=await _may_manage(visit),
    )


@submit("/admin/teams", Action.MANAGE_SYSTEM)
async def add_team(visit: Visit) -> Response[Any]:
    _require_accounts(visit)
    form = await visit.form()
    name = form.text("name", required="Give it a name, as developers.", longest=64).lower()
    description = form.text("description", longest=300)
    group = form.text("external_group", longest=300)
    if group and ":" not in group:
        form.refuse("external_group", "Write source:group, as corp:developers.")

    def write(connection: Connection) -> None:
        create_team(
            connection,
            visit.caller,
            now=visit.now,
            name=name,
            description=description,
            external_group=group or None,
        )

    if form.is_good:
        try:
            await visit.write(write)
            return visit.go(addresses.admin("teams", name), f"Team {name} is there.")
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name"})
    return await _teams_page(visit, form, 400)


@page("/admin/teams/{team:str}", Action.READ_SYSTEM)
async def team(visit: Visit, team: str) -> Response[Any]:
    _require_accounts(visit)
    return await _team_page(visit, team, Form())


async def _team_page(
    visit: Visit,
    name: str,
    joining: Form,
    status: int = 200,
    form: Form | None = None,
    confirm: Form | None = None,
) -> Response[Any]:
    def read(connection: Connection) -> tuple[Team, list[Member], list[GrantRow]]:
        found = get_team(connection, name)
        return found, list_members(connection, found), list_grants(connection, team_id=found.id, n=ROWS)

    found, members, grants = await visit.read(read)
    return visit.render(
        "admin_team.html",
        status=status,
        tab="teams",
        team=found,
        members=members,
        grants=grants,
        joining=joining,
        confirm=confirm or Form(),
        form=form or Form(description=found.description, external_group=found.external_group or ""),
        may_manage=await _may_manage(visit),
    )


@submit("/admin/teams/{team:str}", Action.MANAGE_SYSTEM)
async def change_one_team(visit: Visit, team: str) -> Response[Any]:
    _require_accounts(visit)
    form = await visit.form()
    group = form.text("external_group", longest=300)
    if group and ":" not in group:
        form.refuse("external_group", "Write source:group, as corp:developers.")
    if not form.is_good:
        return await _team_page(visit, team, Form(), 400, form)
    changes: Mapping[str, str | None] = {
        "description": form.text("description", longest=300),
        "external_group": group or None,
    }

    def write(connection: Connection) -> None:
        change_team(connection, visit.caller, get_team(connection, team), changes, now=visit.now)

    await visit.write(write)
    return visit.go(addresses.admin("teams", team), "Saved.")


@submit("/admin/teams/{team:str}/members", Action.MANAGE_SYSTEM)
async def join(visit: Visit, team: str) -> Response[Any]:
    _require_accounts(visit)
    form = await visit.form()
    name = form.text("name", required="Whom?", longest=255).lower()

    def write(connection: Connection) -> None:
        to = get_team(connection, team)
        who = get_account(connection, name)
        add_member(connection, visit.caller, to, who.id, who.name, now=visit.now)

    if form.is_good:
        try:
            await visit.write(write)
            return visit.go(addresses.admin("teams", team), f"{name} is in.")
        except Unknown as error:
            form.blame(error, "name")
    return await _team_page(visit, team, form, 400)


@submit("/admin/teams/{team:str}/members/remove", Action.MANAGE_SYSTEM)
async def leave(visit: Visit, team: str) -> Response[Any]:
    _require_accounts(visit)
    name = (await visit.form()).text("name")

    def write(connection: Connection) -> None:
        who = get_account(connection, name)
        remove_member(connection, visit.caller, get_team(connection, team), who.id, who.name, now=visit.now)

    await visit.write(write)
    return visit.go(addresses.admin("teams", team), f"{name} is out.")


@submit("/admin/teams/{team:str}/delete", Action.MANAGE_SYSTEM)
async def remove_team(visit: Visit, team: str) -> Response[Any]:
    """With its memberships and grants."""
    _require_accounts(visit)
    confirm = await visit.form()
    if not is_confirmed(confirm, team):
        return await _team_page(visit, team, Form(), 400, confirm=confirm)
    await visit.write(lambda c: delete_team(c, visit.caller, get_team(c, team), now=visit.now))
    return visit.go("/admin/teams", f"Team {team} is deleted.")


# --- roles


@page("/admin/roles", Action.READ_SYSTEM)
async def roles(visit: Visit) -> Response[Any]:
    _require_accounts(visit)
    return await _roles_page(visit, Form())


async def _roles_page(visit: Visit, form: Form, status: int = 200) -> Response[Any]:
    rows = await visit.read(list_roles)
    return visit.render(
        "admin_roles.html",
        status=status,
        tab="roles",
        rows=rows,
        form=form,
        chosen=form.many("actions"),
        actions=_ACTIONS,
        may_manage=await _may_manage(visit),
    )


@submit("/admin/roles", Action.MANAGE_SYSTEM)
async def save_role(visit: Visit) -> Response[Any]:
    """A new custom role, or other actions for one that is there."""
    _require_accounts(visit)
    form = await visit.form()
    name = form.text("name", required="Give it a name, as releaser.", longest=64).lower()
    description = form.text("description", longest=300)
    actions = [action for action in form.many("actions") if action in _ACTIONS]
    if not actions:
        form.refuse("actions", "Tick at least one action.")

    def write(connection: Connection) -> None:
        if form["existing"] == name:
            found = get_role(connection, name)
            change_role(
                connection,
                visit.caller,
                found,
                now=visit.now,
                actions=actions,
                description=description,
            )
        else:
            create_role(
                connection,
                visit.caller,
                now=visit.now,
                name=name,
                actions=actions,
                description=description,
            )

    if form.is_good:
        try:
            await visit.write(write)
            return visit.go("/admin/roles", f"Role {name} is saved.")
        except EntrepotError as error:
            form.blame(error, {InvalidName: "name", AlreadyExists: "name"})
    if form["existing"]:
        return await _role_page(visit, form["existing"], form, form.many("actions"), 400)
    return await _roles_page(visit, form, 400)


@page("/admin/roles/{role:str}", Action.READ_SYSTEM)
async def role(visit: Visit, role: str) -> Response[Any]:
    """The form, with what the role holds now."""
    _require_accounts(visit)
    found = await visit.read(get_role, role)
    return await _role_page(
        visit, role, Form(name=found.name, description=found.description), list(found.actions)
    )


async def _role_page(
    visit: Visit,
    name: str,
    form: Form,
    chosen: list[str],
    status: int = 200,
    confirm: Form | None = None,
) -> Response[Any]:
    found = await visit.read(get_role, name)
    if found.builtin:
        raise InvalidInput(
            f"role {name} is built in and stays as it is", hint="make a role of your own beside it"
        )
    return visit.render(
        "admin_role.html",
        status=status,
        tab="roles",
        role=found,
        holders=await visit.read(projects_with_role, found),
        form=form,
        confirm=confirm or Form(),
        chosen=chosen,
        actions=_ACTIONS,
        may_manage=await _may_manage(visit),
    )


@submit("/admin/roles/{role:str}/delete", Action.MANAGE_SYSTEM)
async def remove_role(visit: Visit, role: str) -> Response[Any]:
    _require_accounts(visit)
    confirm = await visit.form()
    if not is_confirmed(confirm, role):
        found = await visit.read(get_role, role)
        form = Form(name=found.name, description=found.description)
        return await _role_page(visit, role, form, list(found.actions), 400, confirm)
    await visit.write(lambda c: delete_role(c, visit.caller, get_role(c, role), now=visit.now))
    return visit.go("/admin/roles", f"Role {role} is deleted.")


# --- sign-in sources

_SETTINGS: Final[dict[str, tuple[str, ...]]] = {
    "oidc": tuple(item.name for item in fields(OidcSettings)),
    "ldap": tuple(item.name for item in fields(LdapSettings)),
    "htpasswd": ("path",),
}
_SHOWN: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "oidc": (
        ("issuer", "Issuer", "Its address, as https://id.example.org"),
        ("client_id", "Client ID", "As the provider calls this registry."),
        ("title", "Name on the button", "As Example SSO."),
        ("name_claim", "Claim with the user name", "Empty: preferred_username."),
        ("groups_claim", "Claim with the groups", "Empty: groups."),
        ("allowed_groups", "Only these groups", "Apart by commas. Empty: everybody the provider knows."),
        ("admin_group", "Group of admins", "Its members are admins here."),
    ),
    "ldap": (
        ("url", "Address", "As ldaps://ldap.example.org"),
        ("user_base", "Where users are", "As ou=people,dc=example,dc=org"),
        ("bind_dn", "Service account", "Its DN. Empty: anonymous."),
        ("user_filter", "Filter for a user", "Empty: (uid={name})."),
        ("group_base", "Where groups are", "Empty: memberOf of the user is read."),
        ("admin_group", "Group of admins", "Its members are admins here."),
    ),
    "htpasswd": (("path", "File", "Absolute path on the server; read again when it changes."),),
}


_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "oidc": ("issuer", "client_id"),
    "ldap": ("url", "user_base"),
    "htpasswd": ("path",),
}


@page("/admin/sources", Action.READ_SYSTEM)
async def sources(visit: Visit) -> Response[Any]:
    _require_accounts(visit)
    return await _sources_page(visit, Form(kind="oidc"))


async def _sources_page(visit: Visit, form: Form, status: int = 200) -> Response[Any]:
    rows: list[Source] = await visit.read(list_sources)
    return visit.render(
        "admin_sources.html",
        status=status,
        tab="sources",
        rows=rows,
        form=form,
        kinds=_SHOWN,
        needed=_NEEDED,
        callback=f"{visit.caller.base_url}/api/v1/sign-in/NAME/callback",
        may_manage=await _may_manage(visit),
    )


@submit("/admin/sources", Action.MANAGE_SYSTEM)
async def add_one_source(visit: Visit) -> Response[Any]:
    _require_accounts(visit)
    require_in_person(visit)
    form = await visit.form()
    name = form.text("name", required="Give it a name, as corp.", longest=64).lower()
    kind = cast("SourceKind", form.choice("kind", tuple(_SETTINGS)))
    secret = form["secret"][:1000]
    typed = {key: form.text(f"{kind}.{key}", longest=500) for key in _SETTINGS[kind]}
    settings = {key: value for key, value in typed.items() if value}
    for key in _NEEDED[kind]:
        if key not in settings:
            form.refuse(f"{kind}.{key}", "This is needed.")

    def write(connection: Connection) -> None:
        add_source(
            connection,
            visit.caller,
            visit.services.seal,
            now=visit.now,
            name=name,
            kind=kind,
            settings=settings,
            secret=secret or None,
        )

    if form.is_good:
        try:
            await visit.write(write)
            await _reload(visit)
            return visit.go("/admin/sources", f"People can sign in with {name} now.")
        except EntrepotError as error:
            first = f"{kind}.{_NEEDED[kind][0]}"
            form.blame(error, {InvalidName: "name", AlreadyExists: "name", InvalidInput: first})
    return await _sources_page(visit, form, 400)


@submit("/admin/sources/{source:str}", Action.MANAGE_SYSTEM)
async def change_source(visit: Visit, source: str) -> Response[Any]:
    """Switch it on or off, or remove it."""
    _require_accounts(visit)
    require_in_person(visit)
    what = (await visit.form())["what"]
    if what == "remove":
        await visit.write(lambda c: remove_source(c, visit.caller, source, now=visit.now))
        words = f"{source} is removed; its users stay, but can't sign in through it."
    elif what in {"enable", "disable"}:
        await visit.write(
            lambda c: set_source_enabled(c, visit.caller, source, enabled=what == "enable", now=visit.now)
        )
        words = f"{source} is {what}d."
    else:
        raise InvalidInput("the form names nothing that could be changed")
    await _reload(visit)
    return visit.go("/admin/sources", words)


async def _reload(visit: Visit) -> None:
    if visit.services.accounts is not None:
        await visit.services.accounts.reload()


ROUTES = [
    users,
    add_user,
    user,
    change_user,
    make_link,
    revoke_token,
    remove_user,
    teams,
    add_team,
    team,
    change_one_team,
    join,
    leave,
    remove_team,
    roles,
    save_role,
    role,
    remove_role,
    sources,
    add_one_source,
    change_source,
]
