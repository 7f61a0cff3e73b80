"""Signing in to the pages and the API with a cookie; the set-up link; OpenID Connect's way there and back.

What has to be remembered while somebody is at a provider is sealed into a cookie of ten minutes: no state
here. Log-in forms of other sites can't sign anybody in: `POST` needs our own origin (or none, from programs).
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.params import Parameter
from litestar.response import Redirect

from entrepot.errors import EntrepotError
from entrepot.server.access.accounts_mode import AccountsControl
from entrepot.server.access.decision.errors import AccessDenied, InvalidCredentials, SignInCancelled, Unknown
from entrepot.server.access.decision.model import Action, Principal, PrincipalKind
from entrepot.server.access.directory.accounts import Account
from entrepot.server.access.directory.first_start import finish_setup
from entrepot.server.access.secrets.sealing import SealBroken
from entrepot.server.access.secrets.sessions import (
    csrf_token,
    end_session,
)
from entrepot.server.access.sign_in.linking import provision
from entrepot.server.access.sign_in.sources.oidc import OidcProvider, SignInAttempt
from entrepot.server.api.problems import HANDLERS
from entrepot.server.api.route import delete, get, post
from entrepot.server.api.schemas import ProviderView, SessionView, Setup, SignIn
from entrepot.server.control.passwords import hash_new_password
from entrepot.server.control.services import Services
from entrepot.server.control.sign_in import begin_session
from entrepot.server.http.caller import Caller
from entrepot.server.http.guard import Asked
from entrepot.server.http.session_cookie import local_path, session_cookie

__all__ = ["ROUTES"]

ATTEMPT_COOKIE: Final = "entrepot-oidc"
ATTEMPT_LIFE_S: Final = 600
_THEN: Final = "entrepot.then"
"""Where a request's scope keeps where the person wants to go, for when the sign-in does not work out."""
_KEPT: Final = "%/?#[]@!$&'()*+,;=:~"
"""RFC 3986 2.2, and what is encoded already."""
CALLBACK: Final = "/api/v1/sign-in/{provider}/callback"


def accounts_of(services: Services) -> AccountsControl:
    """Raises AccessDenied in open mode."""
    if services.accounts is None:
        raise AccessDenied("this registry has no accounts")
    return services.accounts


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
    services: Services, caller: Caller, request: Request[Any, Any, Any], data: SignIn
) -> Response[SessionView]:
    """With a password. Sets the cookie."""
    check_same_origin(request, caller)
    control = accounts_of(services)
    who = await control.authenticator.basic(data.name, data.password, address=caller.address)
    if who.kind is not PrincipalKind.USER or who.credential != "password":
        raise InvalidCredentials("sign in here with a user's password")
    value = await begin_session(services, caller, who, request.headers.get("user-agent", ""))
    view = SessionView(name=who.name, kind=who.kind.value, signed_in=True, csrf_token=csrf_token(value))
    return Response(view, cookies=[session_cookie(value, caller.scheme)])


@delete("/session", Action.MANAGE_SELF, "Sign out", tags=["session"], status_code=200)
async def sign_out(services: Services, caller: Caller) -> Response[SessionView]:
    if caller.session is not None:
        await services.write(end_session, caller.principal, services.now)
    view = SessionView(name="", kind="anonymous", signed_in=False, csrf_token=None)
    return Response(view, cookies=[session_cookie("", caller.scheme, max_age_s=0)])


@post("/setup", Asked.NOBODY, "Choose a password with a set-up link", tags=["session"], status_code=200)
async def setup(
    services: Services, caller: Caller, request: Request[Any, Any, Any], data: Setup
) -> Response[SessionView]:
    """Uses the link up and signs in."""
    check_same_origin(request, caller)
    control = accounts_of(services)
    who = await control.authenticator.secret(data.token, kinds=("set",), address=caller.address)
    hashed = await hash_new_password(services, data.password, who.name)
    await services.write(finish_setup, who, hashed, caller.address, services.now)
    again = await control.authenticator.basic(who.name, data.password, address=caller.address)
    value = await begin_session(services, caller, again, request.headers.get("user-agent", ""))
    view = SessionView(name=who.name, kind=who.kind.value, signed_in=True, csrf_token=csrf_token(value))
    return Response(view, cookies=[session_cookie(value, caller.scheme)])


@get("/sign-in/providers", Asked.NOBODY, "OpenID Connect providers", tags=["session"])
async def providers(services: Services) -> list[ProviderView]:
    found = services.accounts.sources.providers if services.accounts is not None else None
    return [
        ProviderView(name=name, title=provider.settings.title or name, url=f"/api/v1/sign-in/{quote(name)}")
        for name, provider in sorted((found or {}).items())
    ]


def _provider(services: Services, name: str) -> OidcProvider:
    found = (accounts_of(services).sources.providers or {}).get(name)
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
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    provider: str,
    then: str = Parameter(query="next", default="/", max_length=1000),
) -> Redirect:
    request.scope[_THEN] = then  # type: ignore[typeddict-unknown-key]
    found = _provider(services, provider)
    redirect_uri = caller.base_url + CALLBACK.replace("{provider}", quote(provider))
    url, attempt = await accounts_of(services).outbound.ask(provider, found.begin, redirect_uri)
    kept = json.dumps([attempt.state, attempt.nonce, attempt.verifier, local_path(then), services.now])
    sealed = services.seal.seal(kept.encode(), context=f"sign-in at {provider}").hex()
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
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    provider: str,
    code: str = Parameter(query="code", default="", max_length=4000),
    given_state: str = Parameter(query="state", default="", max_length=500),
    problem: str = Parameter(query="error", default="", max_length=500),
) -> Redirect:
    """Signs in whoever the provider vouches for, and makes them a user when they are new."""
    found = _provider(services, provider)
    kept = _kept(services, provider, request.cookies.get(ATTEMPT_COOKIE, ""))
    request.scope[_THEN] = then = kept.then  # type: ignore[typeddict-unknown-key]
    attempt = _attempt(services, kept, given_state)
    if problem == "access_denied":  # RFC 6749 4.1.2.1
        raise SignInCancelled("the sign-in was cancelled at the provider")
    redirect_uri = caller.base_url + CALLBACK.replace("{provider}", quote(provider))
    tried = ""
    try:
        person = await accounts_of(services).outbound.ask(provider, found.finish, attempt, code, redirect_uri)
        tried = person.name.lower()
        account: Account = await services.write(provision, provider, person, services.now, caller.address)
        if not account.enabled:
            raise InvalidCredentials("this account cannot be used")
    except InvalidCredentials:
        accounts_of(services).authenticator.failures.note(tried, caller.address, "oidc", source=provider)
        raise
    who = Principal(
        kind=PrincipalKind.USER, name=account.name, id=account.id, epoch=account.epoch, credential="oidc"
    )
    value = await begin_session(services, caller, who, request.headers.get("user-agent", ""))
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


def _kept(services: Services, provider: str, sealed: str) -> _Kept:
    """What this browser took along. Raises InvalidCredentials."""
    try:
        kept = services.seal.open(bytes.fromhex(sealed), context=f"sign-in at {provider}")
        return _Kept(*json.loads(kept))
    except (SealBroken, ValueError, TypeError, EntrepotError):
        raise InvalidCredentials("this browser did not begin the sign-in; start again") from None


def _attempt(services: Services, kept: _Kept, state: str) -> SignInAttempt:
    """The one that the provider's answer is about. Raises InvalidCredentials."""
    if kept.state != state or services.now - kept.begun_at > ATTEMPT_LIFE_S * 1_000_000:
        raise InvalidCredentials("this browser did not begin the sign-in; start again")
    return SignInAttempt(kept.state, kept.nonce, kept.verifier)


ROUTES = [show_session, sign_in, sign_out, setup, providers, leave, come_back]
