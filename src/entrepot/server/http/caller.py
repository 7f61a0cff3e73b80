"""Who makes a request of the API or a page, and how: from its headers and cookies to an Actor.

A browser sends what it remembers along with requests of other sites, so that a change with our cookie has to
come from our own origin and carry our own token besides. Programs send neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import InvalidCredentials, PermitRefused
from entrepot.server.access.decision.model import ANONYMOUS, Principal
from entrepot.server.access.open_mode import OPEN_PRINCIPAL
from entrepot.server.access.secrets.sessions import cookie_name, csrf_token_is_right
from entrepot.server.control.services import Services

__all__ = ["Caller", "authenticate", "is_somebody"]

Connection = ASGIConnection[Any, Any, Any, Any]
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller(Actor):
    """An Actor on the other side of HTTP."""

    base_url: str = ""
    """The registry as they reached it: `https://host:port`."""
    scheme: str = "http"
    session: str | None = None
    """The cookie's value, when that is how they came."""


async def authenticate(
    services: Services, connection: Connection, *, csrf_token: str | None = None
) -> Caller:
    """Basic, Bearer with a personal access token or robot secret, or our session cookie.

    Raises InvalidCredentials, TooManyAttempts; AccessDenied when a changing request with a cookie did not
    come from our own pages. `csrf_token` is a form's, in place of the header.
    """
    request = cast("Any", connection.scope).get("entrepot.request")
    scheme = str(connection.scope.get("scheme", "http"))
    host = connection.headers.get("host", "")
    public = services.config.server.public_url.rstrip("/")
    base_url = public or (request.base_url if request is not None else f"{scheme}://{host}")
    client = connection.scope.get("client")
    address = client[0] if client else None
    authorization = connection.headers.get("authorization")
    accounts = services.accounts
    session = None
    principal = OPEN_PRINCIPAL if accounts is None else ANONYMOUS
    if accounts is not None and authorization is not None:
        principal = await accounts.authenticate(authorization, address=address)
    elif accounts is not None:
        session = connection.cookies.get(cookie_name(scheme))
        if session is not None:
            principal = await _of_session(services, session, address)
            session = session if not principal.is_anonymous else None
    if connection.scope.get("method") not in _SAFE:
        _check_same_site(connection, session, base_url, csrf_token)
    if request is not None:
        request.principal = principal
    return Caller(
        principal,
        address,
        request.id if request is not None else None,
        base_url=base_url,
        scheme=scheme,
        session=session,
    )


async def is_somebody(services: Services, connection: Connection) -> bool:
    """Whether a request comes with a session of a user, or needs none. Lets nobody do anything."""
    if services.accounts is None:
        return True
    client = connection.scope.get("client")
    session = connection.cookies.get(cookie_name(str(connection.scope.get("scheme", "http"))), "")
    found = await _of_session(services, session, client[0] if client else None) if session else ANONYMOUS
    return not found.is_anonymous


async def _of_session(services: Services, session: str, address: str | None) -> Principal:
    assert services.accounts is not None
    try:
        return await services.accounts.authenticator.secret(session, kinds=("ses",), address=address)
    except InvalidCredentials:
        return ANONYMOUS


def _check_same_site(
    connection: Connection, session: str | None, base_url: str, form_token: str | None
) -> None:
    origin = connection.headers.get("origin")
    if connection.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"} or (
        origin is not None and urlsplit(origin).netloc != urlsplit(base_url).netloc
    ):
        raise PermitRefused("the request came from another site", rule="cross-site")
    given = form_token or connection.headers.get("x-csrf-token")
    if session is not None and not csrf_token_is_right(session, given):
        raise PermitRefused("the request lacks the X-CSRF-Token of this session", rule="csrf")
