"""Signing in to the pages and the API with a cookie; the set-up link; OpenID Connect's way there and back.

What has to be remembered while somebody is at a provider is sealed into a cookie of ten minutes: no state
here. Log-in forms of other sites can't sign anybody in: `POST` needs our own origin (or none, from programs).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.params import Parameter
from litestar.response import Redirect

from entrepot.errors import EntrepotError
from entrepot.server.access.accounts import Account
from entrepot.server.access.accounts_control import AccountsControl
from entrepot.server.access.errors import AccessDenied, InvalidCredentials, SignInCancelled, Unknown
from entrepot.server.access.first_start import finish_setup
from entrepot.server.access.model import Action, Principal, PrincipalKind
from entrepot.server.access.people import provision
from entrepot.server.access.sealing import SealBroken
from entrepot.server.access.sessions import LIFE_S, cookie_name, create_session, csrf_token, end_session
from entrepot.server.access.sources.oidc import OidcProvider, SignInAttempt
from entrepot.server.management.context import Api, Asked, Caller
from entrepot.server.management.passwords import hash_new_password
from entrepot.server.management.problems import HANDLERS
from entrepot.server.management.route import delete, get, post
from entrepot.server.management.schemas import ProviderView, SessionView, Setup, SignIn

__all__ = ["ROUTES", "begin_session", "local_path", "session_cookie"]

ATTEMPT_COOKIE: Final = "entrepot-oidc"
ATTEMPT_LIFE_S: Final = 600
_THEN: Final = "entrepot.then"
"""Where a request's scope keeps where the person wants to go, for when the sign-in does not work out."""
_KEPT: Final = "%/?#[]@!$&'()*+,;=:~"
"""RFC 3986 2.2, and what is encoded already."""
CALLBACK: Final = "/api/v1/sign-in/{provider}/callback"


def accounts_of(api: Api) -> AccountsControl:
    """Raises AccessDenied in open mode."""
    if api.accounts is None:
        raise AccessDenied("this registry has no accounts")
    return api.accounts


def session_cookie(value: str, scheme: str, *, max_age_s: int = LIFE_S) -> Cookie:
    return Cookie(
        key=cookie_name(scheme),
        value=value,
        max_age=max_age_s,
        path="/",
        httponly=True,
        secure=scheme == "https",
        samesite="lax",
    )


async def begin_session(api: Api, caller: Caller, who: Principal, user_agent: str) -> str:
    """The cookie's value for somebody who has just proven who they are."""
    return str(await api.write(create_session, who, caller.address, user_agent, api.now))


def local_path(text: str | None) -> str:
    """Where to go after signing in: a path of this site, never another one, as ASCII for a header."""
    if not text or not text.startswith("/") or text.startswith("//") or "\\" in text:
        return "/"
    if any(character < " " or character == "\x7f" for character in text):
        return "/"
    return quote(text, safe=_KEPT, errors="replace")


def check_same_origin(request: Request[Any, Any, Any], caller: Caller) -> None:
    """A browser says where a form came from. Raises AccessDenied for another site's."""
    origin = request.headers.get("origin")
    foreign_site = request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
    if foreign_site or (origin is not None and urlsplit(origin).netloc != urlsplit(caller.base_url).netloc):
        raise AccessDenied("the request came from another site", rule="cross-site")


@get("/session", Asked.NOBODY, "Am I signed in", tags=["session"])
async def show_session(caller: Caller) -> SessionView:
    who = caller.principal
    return SessionView(
        name=who.name,
        kind=who.kind.value,
        signed_in=not who.is_anonymous,
        csrf_token=csrf_token(caller.session) if caller.session else None,
    )


@post("/session", Asked.NOBODY, "Sign in", tags=["session"], status_code=200)
async def sign_in(
    api: Api, caller: Caller, request: Request[Any, Any, Any], data: SignIn
) -> Response[SessionView]:
    """With a password. Sets the cookie."""
    check_same_origin(request, caller)
    control = accounts_of(api)
    who = await control.authenticator.basic(data.name, data.password, address=caller.address)
    if who.kind is not PrincipalKind.USER or who.credential != "password":
        raise InvalidCredentials("sign in here with a user's password")
    value = await begin_session(api, caller, who, request.headers.get("user-agent", ""))
    view = SessionView(name=who.name, kind=who.kind.value, signed_in=True, csrf_token=csrf_token(value))
    return Response(view, cookies=[session_cookie(value, caller.scheme)])


@delete("/session", Action.MANAGE_SELF, "Sign out", tags=["session"], status_code=200)
async def sign_out(api: Api, caller: Caller) -> Response[SessionView]:
    if caller.session is not None:
        await api.write(end_session, caller.principal, api.now)
    view = SessionView(name="", kind="anonymous", signed_in=False, csrf_token=None)
    return Response(view, cookies=[session_cookie("", caller.scheme, max_age_s=0)])


@post("/setup", Asked.NOBODY, "Choose a password with a set-up link", tags=["session"], status_code=200)
async def setup(
    api: Api, caller: Caller, request: Request[Any, Any, Any], data: Setup
) -> Response[SessionView]:
    """Uses the link up and signs in."""
    check_same_origin(request, caller)
    control = accounts_of(api)
    who = await control.authenticator.secret(data.token, kinds=("set",), address=caller.address)
    hashed = await hash_new_password(api, data.password, who.name)
    await api.write(finish_setup, who, hashed, caller.address, api.now)
    again = await control.authenticator.basic(who.name, data.password, address=caller.address)
    value = await begin_session(api, caller, again, request.headers.get("user-agent", ""))
    view = SessionView(name=who.name, kind=who.kind.value, signed_in=True, csrf_token=csrf_token(value))
    return Response(view, cookies=[session_cookie(value, caller.scheme)])


@get("/sign-in/providers", Asked.NOBODY, "OpenID Connect providers", tags=["session"])
async def providers(api: Api) -> list[ProviderView]:
    found = api.accounts.sources.providers if api.accounts is not None else None
    return [
        ProviderView(name=name, title=provider.settings.title or name, url=f"/api/v1/sign-in/{quote(name)}")
        for name, provider in sorted((found or {}).items())
    ]


def _provider(api: Api, name: str) -> OidcProvider:
    found = (accounts_of(api).sources.providers or {}).get(name)
    if found is None:
        raise Unknown(f"no provider is called {name}")
    return found


def _to_person_or_program(request: Request[Any, Any, Any], error: EntrepotError) -> Response[Any]:
    """Somebody on their way in with a browser gets the sign-in page with what happened, and goes on from
    there to where they wanted to."""
    if "text/html" in request.headers.get("accept", ""):
        then = local_path(str(request.scope.get(_THEN, "")))
        query = urlencode({"problem": error.code} | ({"next": then} if then != "/" else {}))
        return Redirect(f"/sign-in?{query}", status_code=302)
    answer: Response[Any] = HANDLERS[EntrepotError](request, error)
    return answer


@get(
    "/sign-in/{provider:str}",
    Asked.NOBODY,
    "Go to a provider to sign in",
    tags=["session"],
    status_code=302,
    exception_handlers={EntrepotError: _to_person_or_program},
)
async def leave(
    api: Api,
    caller: Caller,
    request: Request[Any, Any, Any],
    provider: str,
    then: str = Parameter(query="next", default="/", max_length=1000),
) -> Redirect:
    request.scope[_THEN] = then  # type: ignore[typeddict-unknown-key]
    found = _provider(api, provider)
    redirect_uri = caller.base_url + CALLBACK.replace("{provider}", quote(provider))
    url, attempt = await asyncio.to_thread(found.begin, redirect_uri)
    kept = json.dumps([attempt.state, attempt.nonce, attempt.verifier, local_path(then), api.now])
    sealed = api.seal.seal(kept.encode(), context=f"sign-in at {provider}").hex()
    cookie = Cookie(
        key=ATTEMPT_COOKIE,
        value=sealed,
        max_age=ATTEMPT_LIFE_S,
        path=CALLBACK.replace("{provider}", quote(provider)),
        httponly=True,
        secure=caller.scheme == "https",
        samesite="lax",
    )
    return Redirect(url, status_code=302, cookies=[cookie])


@get(
    "/sign-in/{provider:str}/callback",
    Asked.NOBODY,
    "Come back from a provider",
    tags=["session"],
    status_code=302,
    exception_handlers={EntrepotError: _to_person_or_program},
)
async def come_back(
    api: Api,
    caller: Caller,
    request: Request[Any, Any, Any],
    provider: str,
    code: str = Parameter(query="code", default="", max_length=4000),
    given_state: str = Parameter(query="state", default="", max_length=500),
    problem: str = Parameter(query="error", default="", max_length=500),
) -> Redirect:
    """Signs in whoever the provider vouches for, and makes them a user when they are new."""
    found = _provider(api, provider)
    kept = _kept(api, provider, request.cookies.get(ATTEMPT_COOKIE, ""))
    request.scope[_THEN] = then = kept.then  # type: ignore[typeddict-unknown-key]
    attempt = _attempt(api, kept, given_state)
    if problem == "access_denied":  # RFC 6749 4.1.2.1
        raise SignInCancelled("the sign-in was cancelled at the provider")
    redirect_uri = caller.base_url + CALLBACK.replace("{provider}", quote(provider))
    tried = ""
    try:
        person = await asyncio.to_thread(found.finish, attempt, code=code, redirect_uri=redirect_uri)
        tried = person.name.lower()
        account: Account = await api.write(provision, provider, person, api.now, caller.address)
        if not account.enabled:
            raise InvalidCredentials("this account cannot be used")
    except InvalidCredentials:
        accounts_of(api).authenticator.failures.note(tried, caller.address, "oidc", source=provider)
        raise
    who = Principal(
        kind=PrincipalKind.USER, name=account.name, id=account.id, epoch=account.epoch, credential="oidc"
    )
    value = await begin_session(api, caller, who, request.headers.get("user-agent", ""))
    gone = Cookie(
        key=ATTEMPT_COOKIE, value="", max_age=0, path=CALLBACK.replace("{provider}", quote(provider))
    )
    return Redirect(then, status_code=302, cookies=[session_cookie(value, caller.scheme), gone])


class _Kept(NamedTuple):
    """What is sealed into the cookie."""

    state: str
    nonce: str
    verifier: str
    then: str
    begun_at: int


def _kept(api: Api, provider: str, sealed: str) -> _Kept:
    """What this browser took along. Raises InvalidCredentials."""
    try:
        kept = api.seal.open(bytes.fromhex(sealed), context=f"sign-in at {provider}")
        return _Kept(*json.loads(kept))
    except (SealBroken, ValueError, TypeError, EntrepotError):
        raise InvalidCredentials("this browser did not begin the sign-in; start again") from None


def _attempt(api: Api, kept: _Kept, state: str) -> SignInAttempt:
    """The one that the provider's answer is about. Raises InvalidCredentials."""
    if kept.state != state or api.now - kept.begun_at > ATTEMPT_LIFE_S * 1_000_000:
        raise InvalidCredentials("this browser did not begin the sign-in; start again")
    return SignInAttempt(kept.state, kept.nonce, kept.verifier)


ROUTES = [show_session, sign_in, sign_out, setup, providers, leave, come_back]
