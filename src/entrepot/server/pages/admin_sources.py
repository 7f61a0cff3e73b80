"""Sign-in sources as admins see them: where people sign in besides built-in accounts."""

from __future__ import annotations

from typing import Any, Final, cast

from litestar import Response

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.access.decision.errors import AlreadyExists, InvalidName
from entrepot.server.access.decision.model import Action
from entrepot.server.control import sources
from entrepot.server.control.transaction import require_in_person
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]

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
async def list_sources(visit: PageVisit) -> Response[Any]:
    visit.require_accounts()
    return await _sources_page(visit, PageForm(kind="oidc"))


async def _sources_page(visit: PageVisit, form: PageForm, status: int = 200) -> Response[Any]:
    rows = await sources.list_sources(visit.services, visit.caller)
    return visit.render(
        "admin_sources.html",
        status=status,
        tab="sources",
        rows=rows,
        form=form,
        kinds=_SHOWN,
        needed=_NEEDED,
        callback=f"{visit.caller.base_url}/api/v1/sign-in/NAME/callback",
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/sources", Action.MANAGE_SYSTEM)
async def add_one_source(visit: PageVisit) -> Response[Any]:
    visit.require_accounts()
    require_in_person(visit.services, visit.caller)
    form = await visit.form()
    name = form.text("name", required="Give it a name, as corp.", longest=64).lower()
    kind = cast("sources.SourceKind", form.choice("kind", tuple(sources.SETTINGS)))
    secret = form["secret"][:1000]
    typed = {key: form.text(f"{kind}.{key}", longest=500) for key in sources.SETTINGS[kind]}
    settings = {key: value for key, value in typed.items() if value}
    for key in _NEEDED[kind]:
        if key not in settings:
            form.refuse(f"{kind}.{key}", "This is needed.")

    if form.is_good:
        try:
            await sources.create_source(
                visit.services,
                visit.caller,
                name=name,
                kind=kind,
                settings=settings,
                secret=secret or None,
            )
            return visit.go("/admin/sources", f"People can sign in with {name} now.")
        except EntrepotError as error:
            first = f"{kind}.{_NEEDED[kind][0]}"
            form.blame(error, {InvalidName: "name", AlreadyExists: "name", InvalidInput: first})
    return await _sources_page(visit, form, 400)


@submit("/admin/sources/{source:str}", Action.MANAGE_SYSTEM)
async def change_source(visit: PageVisit, source: str) -> Response[Any]:
    """Switch it on or off, or remove it."""
    visit.require_accounts()
    require_in_person(visit.services, visit.caller)
    what = (await visit.form())["what"]
    if what == "remove":
        await sources.delete_source(visit.services, visit.caller, source)
        words = f"{source} is removed; its users stay, but can't sign in through it."
    elif what in {"enable", "disable"}:
        await sources.enable_source(visit.services, visit.caller, source, enabled=what == "enable")
        words = f"{source} is {what}d."
    else:
        raise InvalidInput("the form names nothing that could be changed")
    return visit.go("/admin/sources", words)


ROUTES = [list_sources, add_one_source, change_source]
