"""One's own account: name, password, access tokens, sessions."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response
from sqlalchemy import Connection

from entrepot.errors import EntrepotError, InvalidInput, Unauthorized
from entrepot.server.access.decision.errors import InvalidPassword, InvalidPattern, TooManyAttempts
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory.accounts import Account, change_account, set_password_hash
from entrepot.server.access.directory.teams import Team, list_teams
from entrepot.server.access.secrets.access_tokens import AccessToken, get_token, list_tokens, mint, revoke
from entrepot.server.access.secrets.passwords import MIN_PASSWORD_LENGTH
from entrepot.server.control.passwords import hash_new_password
from entrepot.server.http.guard import Asked
from entrepot.server.pages.kit.commands import login_commands
from entrepot.server.pages.kit.forms import Form
from entrepot.server.pages.kit.people import own_account, require_in_person
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import Visit
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
async def show(visit: Visit) -> Response[Any]:
    require_in_person(visit)
    account = await visit.read(own_account, visit)
    form = Form(display_name=account.display_name, email=account.email)
    return await _account_page(visit, account, form, Form())


async def _account_page(
    visit: Visit, account: Account, form: Form, password: Form, status: int = 200
) -> Response[Any]:
    teams: list[Team] = await visit.read(lambda c: list_teams(c, member_id=account.id))
    return visit.render(
        "account.html",
        status=status,
        tab="account",
        account=account,
        form=form,
        password=password,
        teams=teams,
        shortest=MIN_PASSWORD_LENGTH,
    )


@submit("/account", Asked.SIGNED_IN)
async def change(visit: Visit) -> Response[Any]:
    require_in_person(visit)
    form = await visit.form()
    changes = {name: form.text(name, longest=200) for name in ("display_name", "email")}
    if changes["email"] and "@" not in changes["email"]:
        form.refuse("email", "An e-mail address has an @ in it.")
    if not form.is_good:
        account = await visit.read(own_account, visit)
        return await _account_page(visit, account, form, Form(), 400)

    def write(connection: Connection) -> None:
        change_account(connection, visit.caller, own_account(connection, visit), changes, now=visit.now)

    await visit.write(write)
    return visit.go("/account", "Saved.")


@submit("/account/password", Asked.SIGNED_IN)
async def change_password(visit: Visit) -> Response[Any]:
    """Ends every session but this one."""
    require_in_person(visit)
    account = await visit.read(own_account, visit)
    form = await visit.form()
    current = form.secret("current", required="The password you have now.")
    new = chosen_password(form, "new")
    assert visit.services.accounts is not None
    authenticator = visit.services.accounts.authenticator
    if form.is_good:
        try:
            if account.source != "local":
                raise InvalidInput(f"the password of {account.name} is kept at {account.source}")
            await authenticator.basic(account.name, current, address=visit.caller.address)
            hashed = await hash_new_password(visit.services, new, account.name)
            await visit.write(_set_password, visit, hashed)
            who = await authenticator.basic(account.name, new, address=visit.caller.address)
            note = "The password is changed; other sessions have ended."
            return await signed_in(visit, who, "/account", note)
        except Unauthorized:
            form.refuse("current", "That is not your present password.")
        except EntrepotError as error:
            form.blame(error, {InvalidPassword: "new", TooManyAttempts: "current"})
    shown = Form(display_name=account.display_name, email=account.email)
    return await _account_page(visit, account, shown, form, 400)


def _set_password(connection: Connection, visit: Visit, hashed: str) -> None:
    set_password_hash(connection, visit.caller, own_account(connection, visit), hashed, now=visit.now)


@page("/account/tokens", Asked.SIGNED_IN)
async def tokens(visit: Visit) -> Response[Any]:
    require_in_person(visit)
    return await _tokens_page(visit, Form(rights="push"))


async def _tokens_page(
    visit: Visit, form: Form, status: int = 200, made: AccessToken | None = None, secret: str = ""
) -> Response[Any]:
    def read(connection: Connection) -> list[AccessToken]:
        return list_tokens(connection, owner_id=own_account(connection, visit).id, n=MOST)

    rows = sorted(await visit.read(read), key=lambda row: row.created_at, reverse=True)
    return visit.render(
        "account_tokens.html",
        status=status,
        tab="tokens",
        rows=rows,
        form=form,
        made=made,
        secret=secret,
        commands=login_commands(visit.host, visit.name, secret) if secret else [],
    )


@submit("/account/tokens", Asked.SIGNED_IN)
async def make_token(visit: Visit) -> Response[Any]:
    """The secret is on the page that answers, and nowhere else."""
    require_in_person(visit)
    form = await visit.form()
    name = form.text("name", required="Say what it is for, as: laptop.", longest=200)
    rights = form.choice("rights", tuple(_RIGHTS))
    repositories = form.text("repositories", longest=2000).replace(",", " ").split()
    expires_at = form.expiry("until", now=visit.now)

    def write(connection: Connection) -> tuple[AccessToken, str]:
        owner = own_account(connection, visit)
        secret = mint(
            connection,
            visit.caller,
            now=visit.now,
            kind="pat",
            owner_id=owner.id,
            owner=owner.name,
            name=name,
            actions=_RIGHTS[rights],
            repositories=repositories or None,
            expires_at=expires_at,
        )
        return get_token(connection, secret.public_id), str(secret.text)

    if form.is_good:
        try:
            made, secret = await visit.write(write)
            return await _tokens_page(visit, Form(rights="push"), made=made, secret=secret)
        except EntrepotError as error:
            form.blame(error, {InvalidPattern: "repositories"})
    return await _tokens_page(visit, form, 400)


@submit("/account/tokens/revoke", Asked.SIGNED_IN)
async def revoke_token(visit: Visit) -> Response[Any]:
    """At once; what was made with it is refused too."""
    require_in_person(visit)
    token = (await visit.form()).text("token", longest=40)
    await visit.write(_revoke, visit, token, "pat")
    return visit.go("/account/tokens", "The token is revoked.")


def _revoke(connection: Connection, visit: Visit, token: str, kind: str) -> None:
    owner = own_account(connection, visit)
    found = get_token(connection, token, owner_id=owner.id)
    if found.kind != kind:
        raise InvalidInput("that is another kind of credential")
    revoke(connection, visit.caller, found, now=visit.now)


@page("/account/sessions", Asked.SIGNED_IN)
async def sessions(visit: Visit) -> Response[Any]:
    require_in_person(visit)

    def read(connection: Connection) -> list[AccessToken]:
        return list_tokens(connection, owner_id=own_account(connection, visit).id, kinds=("ses",), n=MOST)

    rows = [row for row in await visit.read(read) if row.expires_at is None or row.expires_at > visit.now]
    rows.sort(key=lambda row: row.created_at, reverse=True)
    return visit.render(
        "account_sessions.html", tab="sessions", rows=rows, present=visit.caller.principal.token_id
    )


@submit("/account/sessions/end", Asked.SIGNED_IN)
async def end(visit: Visit) -> Response[Any]:
    """One session, or with `others` all but this one."""
    require_in_person(visit)
    form = await visit.form()
    present = visit.caller.principal.token_id
    if not form.flag("others"):
        await visit.write(_revoke, visit, form.text("session", longest=40), "ses")
        return visit.go("/account/sessions", "The session has ended.")

    def write(connection: Connection) -> None:
        owner = own_account(connection, visit)
        for row in list_tokens(connection, owner_id=owner.id, kinds=("ses",), n=1000):
            if row.id != present:
                revoke(connection, visit.caller, row, now=visit.now)

    await visit.write(write)
    return visit.go("/account/sessions", "All other sessions have ended.")


ROUTES = [
    show,
    change,
    change_password,
    tokens,
    make_token,
    revoke_token,
    sessions,
    end,
]
