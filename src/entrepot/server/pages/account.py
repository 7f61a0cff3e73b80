"""One's own account: name, password, access tokens, sessions."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from entrepot.errors import EntrepotError, Unauthorized
from entrepot.server.access.decision.errors import InvalidPassword, InvalidPattern, TooManyAttempts
from entrepot.server.access.decision.model import Action
from entrepot.server.control import account, tokens
from entrepot.server.control.transaction import require_in_person
from entrepot.server.http.guard import Asked
from entrepot.server.pages.kit.commands import login_commands
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit
from entrepot.server.pages.sign_in import chosen_password, signed_in

__all__ = ["ROUTES"]

MOST: Final = 200
_RIGHTS: Final[dict[str, list[str] | None]] = {
    "pull": [Action.PULL.value],
    "push": [Action.PULL.value, Action.PUSH.value],
    "delete": [
        Action.PULL.value,
        Action.PUSH.value,
        Action.DELETE_TAG.value,
        Action.DELETE_MANIFEST.value,
        Action.DELETE_BLOB.value,
    ],
    "all": None,
}
"""What a token may be for; None: all that its owner may."""


@page("/account", Asked.SIGNED_IN)
async def show(visit: PageVisit) -> Response[Any]:
    require_in_person(visit.services, visit.caller)
    return await _account_page(visit, None, PageForm())


async def _account_page(
    visit: PageVisit, form: PageForm | None, password: PageForm, status: int = 200
) -> Response[Any]:
    found = await account.show_self_with_teams(visit.services, visit.caller)
    own = found.account
    return visit.render(
        "account.html",
        status=status,
        tab="account",
        account=own,
        form=form or PageForm(display_name=own.display_name, email=own.email),
        password=password,
        teams=found.teams,
        shortest=account.MIN_PASSWORD_LENGTH,
    )


@submit("/account", Asked.SIGNED_IN)
async def change(visit: PageVisit) -> Response[Any]:
    require_in_person(visit.services, visit.caller)
    form = await visit.form()
    changes = {name: form.text(name, longest=200) for name in ("display_name", "email")}
    if changes["email"] and "@" not in changes["email"]:
        form.refuse("email", "An e-mail address has an @ in it.")
    if not form.is_good:
        return await _account_page(visit, form, PageForm(), 400)
    await account.change_self(visit.services, visit.caller, changes)
    return visit.go("/account", "Saved.")


@submit("/account/password", Asked.SIGNED_IN)
async def change_password(visit: PageVisit) -> Response[Any]:
    """Ends every session but this one."""
    require_in_person(visit.services, visit.caller)
    form = await visit.form()
    current = form.secret("current", required="The password you have now.")
    new = chosen_password(form, "new")
    if form.is_good:
        try:
            who = await account.change_password(visit.services, visit.caller, current=current, new=new)
            note = "The password is changed; other sessions have ended."
            return await signed_in(visit, who, "/account", note)
        except Unauthorized:
            form.refuse("current", "That is not your present password.")
        except EntrepotError as error:
            form.blame(error, {InvalidPassword: "new", TooManyAttempts: "current"})
    return await _account_page(visit, None, form, 400)


@page("/account/tokens", Asked.SIGNED_IN)
async def list_tokens(visit: PageVisit) -> Response[Any]:
    require_in_person(visit.services, visit.caller)
    return await _tokens_page(visit, PageForm(rights="push"))


async def _tokens_page(
    visit: PageVisit, form: PageForm, status: int = 200, made: tokens.MintedToken | None = None
) -> Response[Any]:
    found = await tokens.list_own_tokens(visit.services, visit.caller, n=MOST)
    secret = made.secret if made else ""
    return visit.render(
        "account_tokens.html",
        status=status,
        tab="tokens",
        rows=sorted(found, key=lambda row: row.created_at, reverse=True),
        form=form,
        made=made.token if made else None,
        secret=secret,
        commands=login_commands(visit.host, visit.name, secret) if secret else [],
    )


@submit("/account/tokens", Asked.SIGNED_IN)
async def make_token(visit: PageVisit) -> Response[Any]:
    """The secret is on the page that answers, and nowhere else."""
    require_in_person(visit.services, visit.caller)
    form = await visit.form()
    name = form.text("name", required="Say what it is for, as: laptop.", longest=200)
    rights = form.choice("rights", tuple(_RIGHTS))
    repositories = form.text("repositories", longest=2000).replace(",", " ").split()
    expires_at = form.expiry("until", now=visit.now)

    if form.is_good:
        try:
            made = await tokens.create_own_token(
                visit.services,
                visit.caller,
                name=name,
                actions=_RIGHTS[rights],
                repositories=repositories or None,
                expires_at=expires_at,
            )
            return await _tokens_page(visit, PageForm(rights="push"), made=made)
        except EntrepotError as error:
            form.blame(error, {InvalidPattern: "repositories"})
    return await _tokens_page(visit, form, 400)


@submit("/account/tokens/revoke", Asked.SIGNED_IN)
async def revoke_token(visit: PageVisit) -> Response[Any]:
    """At once; what was made with it is refused too."""
    require_in_person(visit.services, visit.caller)
    token = (await visit.form()).text("token", longest=40)
    await tokens.revoke_own_token(visit.services, visit.caller, token, personal=True)
    return visit.go("/account/tokens", "The token is revoked.")


@page("/account/sessions", Asked.SIGNED_IN)
async def sessions(visit: PageVisit) -> Response[Any]:
    rows = await account.list_sessions(visit.services, visit.caller)
    return visit.render(
        "account_sessions.html", tab="sessions", rows=rows, present=visit.caller.principal.token_id
    )


@submit("/account/sessions/end", Asked.SIGNED_IN)
async def end(visit: PageVisit) -> Response[Any]:
    """One session, or with `others` all but this one."""
    require_in_person(visit.services, visit.caller)
    form = await visit.form()
    if form.flag("others"):
        await account.end_other_sessions(visit.services, visit.caller)
        return visit.go("/account/sessions", "All other sessions have ended.")
    await account.end_session(visit.services, visit.caller, form.text("session", longest=40))
    return visit.go("/account/sessions", "The session has ended.")


ROUTES = [
    show,
    change,
    change_password,
    list_tokens,
    make_token,
    revoke_token,
    sessions,
    end,
]
