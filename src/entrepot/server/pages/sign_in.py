"""Signing in and out, and choosing a password with a one-time link."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from litestar import Response

from entrepot.errors import EntrepotError, Unauthorized
from entrepot.server.access.decision.errors import (
    InvalidCredentials,
    InvalidPassword,
    NotKnownNow,
    PermitRefused,
    TooManyAttempts,
)
from entrepot.server.access.decision.model import Principal
from entrepot.server.control import sign_in
from entrepot.server.control.sign_in import MIN_PASSWORD_LENGTH, NotAUser, SignedIn
from entrepot.server.http.guard import Asked
from entrepot.server.http.session_cookie import local_path, session_cookie
from entrepot.server.pages.kit.addresses import with_query
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import Note, PageVisit
from entrepot.wording import seconds

__all__ = ["ROUTES", "signed_in"]

_WRONG: Final = "The name or the password is wrong."
_PROVIDER_PROBLEMS: Final = {
    "invalid-credentials": "The provider did not vouch for you, or took too long. Start again.",
    "sign-in-cancelled": "You turned back at the provider, so you are not signed in.",
    "oidc-unavailable": "The provider could not be reached. Try again, or sign in with a password.",
    "sign-in-source-busy": "The provider does not answer. Try again in a moment, or sign in with a password.",
    "not-admitted": "You are known there, but none of your groups may sign in here. Ask an admin.",
    "name-taken": "Your name belongs to another account here. An admin can link the two.",
    "invalid-name": "The name the provider has for you can't be a user name here. Ask an admin.",
}


def _require_accounts(visit: PageVisit) -> None:
    if visit.is_open:
        raise PermitRefused("this registry is open: it has no accounts, and nobody needs to sign in")


@page("/sign-in", Asked.NOBODY)
async def show(visit: PageVisit) -> Response[Any]:
    _require_accounts(visit)
    then = local_path(visit.query("next", longest=1000))
    if visit.is_signed_in:
        return visit.go(then)
    form = PageForm(next=then)
    code = visit.query("problem", longest=40)
    if code:
        form.problem = _PROVIDER_PROBLEMS.get(code, "The sign-in did not work out. Start again.")
    return _sign_in_page(visit, form)


def _sign_in_page(visit: PageVisit, form: PageForm, status: int = 200) -> Response[Any]:
    then = local_path(form["next"])
    providers = [
        (one.title, with_query(f"/api/v1/sign-in/{quote(one.name)}", next=then))
        for one in sign_in.list_providers(visit.services)
    ]
    return visit.render("sign_in.html", status=status, form=form, next=then, providers=providers)


@submit("/sign-in", Asked.NOBODY)
async def prove(visit: PageVisit) -> Response[Any]:
    """With a name and a password, of whichever source."""
    _require_accounts(visit)
    form = await visit.form()
    name = form.text("name", required="Your user name.", longest=255)
    password = form.secret("password", required="Your password.")
    status = 400
    if form.is_good:
        try:
            done = await sign_in.sign_in(
                visit.services, visit.caller, name=name, password=password, user_agent=_user_agent(visit)
            )
            return _go_in(visit, done, local_path(form["next"]))
        except NotAUser:
            form.refuse("password", "Sign in here with a user's password; tokens are for programs.")
        except TooManyAttempts as error:
            status = 429
            form.problem = f"Too many failed sign-ins. Try again in {seconds(error.retry_after_s)}."
        except NotKnownNow as error:
            status = 503
            form.problem = f"{error.message[0].upper()}{error.message[1:]}; {error.hint}."
        except Unauthorized:
            form.refuse("password", _WRONG)
    return _sign_in_page(visit, form, status)


async def signed_in(
    visit: PageVisit, who: Principal, then: str, note: Note | str | None = None
) -> Response[Any]:
    """A new session for somebody who has just proven who they are."""
    done = await sign_in.begin_session(visit.services, visit.caller, who, _user_agent(visit))
    return _go_in(visit, done, then, note)


def _go_in(visit: PageVisit, done: SignedIn, then: str, note: Note | str | None = None) -> Response[Any]:
    # A note is bound to the session that will read it.
    visit.key = done.session
    return visit.go(then, note, cookies=[session_cookie(done.session, visit.caller.scheme)])


def _user_agent(visit: PageVisit) -> str:
    return str(visit.request.headers.get("user-agent", ""))


@submit("/sign-out", Asked.NOBODY)
async def sign_out(visit: PageVisit) -> Response[Any]:
    if visit.caller.session is not None:
        await sign_in.sign_out(visit.services, visit.caller)
    return visit.go("/", cookies=[session_cookie("", visit.caller.scheme, max_age_s=0)])


@page("/setup", Asked.NOBODY)
async def setup(visit: PageVisit) -> Response[Any]:
    """The link that `serve` prints at first start, or that an admin hands to somebody."""
    token = visit.query("token", longest=200)
    who = await _holder(visit, token)
    return _setup_page(visit, who, PageForm(token=token), 200 if who else 403)


def _setup_page(visit: PageVisit, who: Principal | None, form: PageForm, status: int) -> Response[Any]:
    shown = visit.render("setup.html", status=status, who=who, form=form, shortest=MIN_PASSWORD_LENGTH)
    # The page's address is the secret: what it loads is asked for without it, since proxies log the Referer.
    shown.headers["Referrer-Policy"] = "strict-origin"
    return shown


@submit("/setup", Asked.NOBODY)
async def choose_password(visit: PageVisit) -> Response[Any]:
    """Uses the link up and signs in."""
    form = await visit.form()
    token = form.text("token", longest=200)
    who = await _holder(visit, token)
    if who is None:
        return _setup_page(visit, None, form, 403)
    password = chosen_password(form)
    if form.is_good:
        try:
            done = await sign_in.choose_password(
                visit.services,
                visit.caller,
                token=token,
                password=password,
                user_agent=_user_agent(visit),
            )
            return _go_in(visit, done, "/", f"Welcome, {who.name}.")
        except EntrepotError as error:
            form.blame(error, {InvalidPassword: "password"})
    return _setup_page(visit, who, form, 400)


def chosen_password(form: PageForm, name: str = "password") -> str:
    """Typed twice, the same."""
    too_short = f"Choose a password of at least {MIN_PASSWORD_LENGTH} characters."
    password = form.secret(name, required=too_short)
    if 0 < len(password) < MIN_PASSWORD_LENGTH:
        form.refuse(name, too_short)
    if form["repeat"] != password:
        form.refuse("repeat", "This is not the same as above.")
    return password


async def _holder(visit: PageVisit, token: str) -> Principal | None:
    _require_accounts(visit)
    try:
        return await sign_in.find_link_holder(visit.services, visit.caller, token)
    except InvalidCredentials:
        return None


ROUTES = [show, prove, sign_out, setup, choose_password]
