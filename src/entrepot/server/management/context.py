"""What every route of the management API works with: the services, the caller, one transaction at a time.

A route names its action as data (`action=Action.PULL` beside its path); `policy_guard` asks for it before the
handler runs, on the project, repository and tag in the path. `Asked.NOBODY` marks the few routes that ask
nothing; a test holds the table of all routes.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from entrepot.server.access.accounts_control import AccountsControl
from entrepot.server.access.control import AccessControl
from entrepot.server.access.errors import AccessDenied, InvalidCredentials, InvalidToken
from entrepot.server.access.model import ANONYMOUS, Action, Answer, Principal, Resource
from entrepot.server.access.open import OPEN_PRINCIPAL
from entrepot.server.access.patterns import Visible
from entrepot.server.access.sealing import SealKey
from entrepot.server.access.sessions import cookie_name, csrf_token_is_right
from entrepot.server.config.model import Config
from entrepot.server.db import Catalog
from entrepot.server.repos.blobs import Blobs
from entrepot.server.repos.changes import Actor, Permit
from entrepot.server.repos.history import History
from entrepot.server.repos.manifests import Manifests
from entrepot.server.repos.repositories import Repositories
from entrepot.server.repos.under_way import UnderWay

__all__ = ["SLASH", "Api", "Asked", "Caller", "policy_guard"]

T = TypeVar("T")
Check = Callable[[], Awaitable[None]]
SLASH: Final = "∕"
"""Stands for a slash inside one segment of a path (see `app.SlashKeeper`)."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Asked(enum.Enum):
    """In place of an action."""

    NOBODY = "nobody"
    """No question is asked: signing in, the set-up link, the API's description."""
    SIGNED_IN = "signed-in"
    """Somebody has to be there; what they get depends on who they are."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and how."""

    principal: Principal
    address: str | None
    request_id: str | None
    base_url: str
    scheme: str
    session: str | None = None
    """The cookie's value, when that is how they came."""

    @property
    def actor(self) -> Actor:
        who = self.principal
        return Actor(
            principal=who.name or who.kind.value,
            kind=who.kind.value,
            address=self.address,
            token_id=who.token_id,
            request_id=self.request_id,
        )


class Api:
    """One per process."""

    def __init__(
        self,
        *,
        config: Config,
        catalog: Catalog,
        access: AccessControl,
        manifests: Manifests,
        blobs: Blobs,
        repositories: Repositories,
        under_way: UnderWay,
        seal_file: Path,
        checks: Mapping[str, Check] | None = None,
    ) -> None:
        self.config = config
        self.catalog = catalog
        self.access = access
        self.manifests = manifests
        self.blobs = blobs
        self.repositories = repositories
        self.under_way = under_way
        self.history = History(catalog)
        self.checks = dict(checks or {})
        """What `/readyz` asks, by the part it is about."""
        self.accounts = access if isinstance(access, AccountsControl) else None
        self._seal: SealKey | None = self.accounts.seal if self.accounts else None
        self._seal_file = seal_file

    @property
    def now(self) -> int:
        return self.catalog.clock.now()

    @property
    def seal(self) -> SealKey:
        """Made on first use in open mode, where nothing may ever be sealed."""
        if self._seal is None:
            self._seal = SealKey.load_or_create(self._seal_file)
        return self._seal

    async def authenticate(
        self, connection: ASGIConnection[Any, Any, Any, Any], *, csrf_token: str | None = None
    ) -> Caller:
        """Basic, Bearer with a personal access token or robot secret, or our session cookie.

        Raises InvalidCredentials, TooManyAttempts; AccessDenied when a changing request with a cookie did not
        come from our own pages. `csrf_token` is a form's, in place of the header.
        """
        request = cast("Any", connection.scope).get("entrepot.request")
        scheme = str(connection.scope.get("scheme", "http"))
        host = connection.headers.get("host", "")
        public = self.config.server.public_url.rstrip("/")
        base_url = public or (request.base_url if request is not None else f"{scheme}://{host}")
        client = connection.scope.get("client")
        address = client[0] if client else None
        authorization = connection.headers.get("authorization")
        session = None
        principal = OPEN_PRINCIPAL if self.accounts is None else ANONYMOUS
        if self.accounts is not None and authorization is not None:
            principal = await self.accounts.authenticate(authorization, address=address)
        elif self.accounts is not None:
            session = connection.cookies.get(cookie_name(scheme))
            if session is not None:
                principal = await self._of_session(session, address)
                session = session if not principal.is_anonymous else None
        if connection.scope.get("method") not in _SAFE:
            _check_same_site(connection, session, base_url, csrf_token)
        if request is not None:
            request.principal = principal
        return Caller(
            principal, address, request.id if request is not None else None, base_url, scheme, session
        )

    async def is_somebody(self, connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
        """Whether a request comes with a session of a user, or needs none. Lets nobody do anything."""
        if self.accounts is None:
            return True
        client = connection.scope.get("client")
        session = connection.cookies.get(cookie_name(str(connection.scope.get("scheme", "http"))), "")
        found = await self._of_session(session, client[0] if client else None) if session else ANONYMOUS
        return not found.is_anonymous

    async def _of_session(self, session: str, address: str | None) -> Principal:
        assert self.accounts is not None
        try:
            return await self.accounts.authenticator.secret(session, kinds=("ses",), address=address)
        except InvalidCredentials:
            return ANONYMOUS

    async def require(self, caller: Caller, action: Action, resource: Resource) -> None:
        """Raises InvalidCredentials (sign in), InvalidToken or AccessDenied."""
        if self.accounts is None:
            return
        decision = await self.accounts.decide_on(caller.principal, action, resource)
        if decision.allowed:
            return
        if decision.answer is Answer.CHALLENGE:
            raise (InvalidToken if decision.challenge_error else InvalidCredentials)(decision.reason)
        raise AccessDenied(decision.reason, rule=decision.rule)

    async def require_reach(self, caller: Caller, project: str, reach: Iterable[tuple[str, str]]) -> None:
        """Whoever gives a role, or can hold a robot's secret, may not so get more than they have themselves.

        `reach`: actions, each with a pattern of tags, which is asked about as if it were a tag: a grant whose
        pattern fits it fits all that it stands for. Raises as `require` does.
        """
        for action, tags in sorted(reach):
            await self.require(caller, Action(action), Resource(project=project, tag=tags))

    async def may(self, caller: Caller, action: Action, resource: Resource) -> bool:
        """The same question, for what a page or answer shows."""
        if self.accounts is None:
            return True
        return (await self.accounts.decide_on(caller.principal, action, resource)).allowed

    async def visible(self, caller: Caller) -> Visible:
        return await self.access.visible(caller.principal)

    def permit(self, caller: Caller) -> Permit:
        return self.access.permit_for(caller.principal)

    async def read(self, fn: Callable[..., T], *args: Any) -> T:
        """`fn(connection, *args)` on a read-only connection."""
        return await self.catalog.read(fn, *args)

    async def write(self, fn: Callable[..., T], *args: Any) -> T:
        """`fn(connection, *args)` as one transaction."""
        return await self.catalog.write(fn, *args)


async def policy_guard(
    connection: ASGIConnection[Any, Any, Any, Any], route_handler: BaseRouteHandler
) -> None:
    """Ask the route's action of whoever calls. A route without one is refused to everybody."""
    api: Api = connection.app.state.api
    parameters = connection.path_params
    for name, value in parameters.items():
        if isinstance(value, str):
            parameters[name] = value.replace(SLASH, "/")
    caller = await api.authenticate(connection)
    connection.scope["entrepot.caller"] = caller  # type: ignore[typeddict-unknown-key]
    action = route_handler.opt.get("action")
    if action is Asked.NOBODY:
        return
    if action is Asked.SIGNED_IN:
        action = Action.MANAGE_SELF
    if not isinstance(action, Action):
        raise AccessDenied("this route has no policy")
    await api.require(
        caller,
        action,
        Resource(
            repository=parameters.get("repository"),
            tag=parameters.get("tag"),
            project=parameters.get("project"),
        ),
    )


def _check_same_site(
    connection: ASGIConnection[Any, Any, Any, Any],
    session: str | None,
    base_url: str,
    form_token: str | None = None,
) -> None:
    """A browser sends what it remembers along with requests of other sites: ask for our own origin.

    Programs send neither header. A cookie needs our own token besides.
    """
    origin = connection.headers.get("origin")
    if connection.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"} or (
        origin is not None and urlsplit(origin).netloc != urlsplit(base_url).netloc
    ):
        raise AccessDenied("the request came from another site", rule="cross-site")
    given = form_token or connection.headers.get("x-csrf-token")
    if session is not None and not csrf_token_is_right(session, given):
        raise AccessDenied("the request lacks the X-CSRF-Token of this session", rule="csrf")
