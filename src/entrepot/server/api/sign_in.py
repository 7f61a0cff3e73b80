"""Signing in to the pages and the API with a cookie; the set-up link; OpenID Connect's way there and back.

What has to be remembered while somebody is at a provider is sealed into a cookie of ten minutes: no state
here. Log-in forms of other sites can't sign anybody in: `POST` needs our own origin (or none, from programs).
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.params import Parameter
from litestar.response import Redirect

from entrepot.errors import EntrepotError
from entrepot.server.access.decision.errors import PermitRefused
from entrepot.server.access.decision.model import Action
from entrepot.server.api.problems import HANDLERS
from entrepot.server.api.route import delete, get, post
from entrepot.server.api.schemas import ProviderView, SessionView, Setup, SignIn
from entrepot.server.control import sign_in
from entrepot.server.control.services import Services
from entrepot.server.control.sign_in import SignedIn, csrf_token
from entrepot.server.http.caller import Caller
from entrepot.server.http.guard import Asked
from entrepot.server.http.session_cookie import local_path, session_cookie

__all__ = ["ROUTES"]

ATTEMPT_COOKIE: Final = "entrepot-oidc"
_THEN: Final = "entrepot.then"
"""Where a request's scope keeps where the person wants to go, for when the sign-in does not work out."""
CALLBACK: Final = "/api/v1/sign-in/{provider}/callback"


def check_same_origin(request: Request[Any, Any, Any], caller: Caller) -> None:
    """A browser says where a form came from. Raises AccessDenied for another site's."""
    origin = request.headers.get("origin")
    foreign_site = request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
    if foreign_site or (origin is not None and urlsplit(origin).netloc != urlsplit(caller.base_url).netloc):
        raise PermitRefused("the request came from another site", rule="cross-site")


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
async def with_password(
    services: Services, caller: Caller, request: Request[Any, Any, Any], data: SignIn
) -> Response[SessionView]:
    """With a password. Sets the cookie."""
    check_same_origin(request, caller)
    done = await sign_in.sign_in(
        services, caller, name=data.name, password=data.password, user_agent=_user_agent(request)
    )
    return _signed_in(caller, done)


@delete("/session", Action.MANAGE_SELF, "Sign out", tags=["session"], status_code=200)
async def sign_out(services: Services, caller: Caller) -> Response[SessionView]:
    if caller.session is not None:
        await sign_in.sign_out(services, caller)
    view = SessionView(name="", kind="anonymous", signed_in=False, csrf_token=None)
    return Response(view, cookies=[session_cookie("", caller.scheme, max_age_s=0)])


@post("/setup", Asked.NOBODY, "Choose a password with a set-up link", tags=["session"], status_code=200)
async def setup(
    services: Services, caller: Caller, request: Request[Any, Any, Any], data: Setup
) -> Response[SessionView]:
    """Uses the link up and signs in."""
    check_same_origin(request, caller)
    done = await sign_in.choose_password(
        services, caller, token=data.token, password=data.password, user_agent=_user_agent(request)
    )
    return _signed_in(caller, done)


def _user_agent(request: Request[Any, Any, Any]) -> str:
    return request.headers.get("user-agent", "")


def _signed_in(caller: Caller, done: SignedIn) -> Response[SessionView]:
    view = SessionView(
        name=done.who.name,
        kind=done.who.kind.value,
        signed_in=True,
        csrf_token=csrf_token(done.session),
    )
    return Response(view, cookies=[session_cookie(done.session, caller.scheme)])


@get("/sign-in/providers", Asked.NOBODY, "OpenID Connect providers", tags=["session"])
async def providers(services: Services) -> list[ProviderView]:
    return [
        ProviderView(name=one.name, title=one.title, url=f"/api/v1/sign-in/{quote(one.name)}")
        for one in sign_in.list_providers(services)
    ]


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
    url, sealed = await sign_in.begin_at_provider(
        services, provider, redirect_uri=_callback(caller, provider), then=local_path(then)
    )
    cookie = Cookie(
        key=ATTEMPT_COOKIE,
        value=sealed,
        max_age=sign_in.ATTEMPT_LIFE_S,
        path=_callback_path(provider),
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
    visitor = sign_in.open_visitor(services, provider, request.cookies.get(ATTEMPT_COOKIE, ""))
    request.scope[_THEN] = visitor.then  # type: ignore[typeddict-unknown-key]
    done = await sign_in.finish_at_provider(
        services,
        caller,
        provider,
        visitor,
        state=given_state,
        code=code,
        problem=problem,
        redirect_uri=_callback(caller, provider),
        user_agent=_user_agent(request),
    )
    gone = Cookie(key=ATTEMPT_COOKIE, value="", max_age=0, path=_callback_path(provider))
    cookies = [session_cookie(done.session, caller.scheme), gone]
    return Redirect(visitor.then, status_code=302, cookies=cookies)


def _callback_path(provider: str) -> str:
    return CALLBACK.replace("{provider}", quote(provider))


def _callback(caller: Caller, provider: str) -> str:
    return caller.base_url + _callback_path(provider)


ROUTES = [show_session, with_password, sign_out, setup, providers, leave, come_back]
