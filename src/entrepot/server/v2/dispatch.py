"""One request through the table: find the row, ask who it is, ask whether they may, call the handler.

Whatever goes wrong on the way becomes one JSON error here; no exception leaves but cancellation and
ClientGone.
"""

from __future__ import annotations

from entrepot.errors import EntrepotError, Unauthorized
from entrepot.observability.logs import get_log
from entrepot.server.access.decision.model import Action, Decision, Ruling
from entrepot.server.http import refusals
from entrepot.server.http.request import ClientGone, HttpRequest
from entrepot.server.http.response import Response
from entrepot.server.v2 import caching, errors
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.names import is_repository
from entrepot.server.v2.routes import Route, Router

log = get_log(__name__)

WIRE_ACTIONS = {
    Action.READ: "pull",
    Action.PULL: "pull",
    Action.PUSH: "pull,push",
    Action.DELETE_TAG: "delete",
    Action.DELETE_MANIFEST: "delete",
    Action.DELETE_BLOB: "delete",
}
"""What a client must ask the token service for to do an action."""


class V2Application:
    """Everything below `/v2/` and `/v1/`."""

    def __init__(self, context: V2Context, router: Router | None = None) -> None:
        self.context = context
        self._directory = context.services.pull_through.directory
        self._find = (router or Router()).find

    async def respond(self, request: HttpRequest) -> Response:
        """The answer to a request. Raises ClientGone when nobody is left to answer."""
        response = await self._answer(request)
        if request.method in ("GET", "HEAD") and response.header(b"cache-control") is None:
            response.headers.append(caching.only_when_asked_again(request.principal))
        return response

    async def _answer(self, request: HttpRequest) -> Response:
        found = self._find(request.method, request.path)
        if isinstance(found, frozenset):
            return errors.no_such_route(request, found)
        route, arguments = found
        request.route = route.pattern
        namespace = None
        try:
            # A mirror is asked for another registry's names; local content never comes here.
            if b"ns=" in request.query_string or self._directory.whole is not None:
                namespace = await self._rename(request, arguments)
            access = self.context.services.access
            authorization = request.headers.get(b"authorization")
            request.principal = await access.authenticate(
                None if authorization is None else authorization.decode("latin-1"), address=request.address
            )
            decision = await access.decide(
                request.principal, route.action, arguments.get("name"), arguments.get("tag")
            )
            if not decision.allowed:
                return self._refused(request, route, arguments.get("name"), decision)
            response = await route.handler(self.context, request, **arguments)
            if namespace is not None:
                response.headers.append((b"oci-namespace", namespace))
            return response
        except ClientGone:
            raise
        except Unauthorized as error:
            challenge = self._challenge(
                request, route, arguments.get("name"), getattr(error, "challenge_error", None)
            )
            return refusals.unauthorized(error.message, challenge)
        except EntrepotError as error:
            return errors.response_to(error, request)
        except Exception:
            log.exception("request failed", method=request.method, path=request.path, request_id=request.id)
            return refusals.internal(request.id)

    async def _rename(self, request: HttpRequest, arguments: dict[str, str]) -> bytes | None:
        """Put our name in the place of a mirrored one; the value of OCI-Namespace when it was asked with
        `?ns=`.
        """
        name = arguments.get("name")
        if name is None or request.method not in {"GET", "HEAD"} or not is_repository(name):
            return None
        namespace = request.parameter("ns")
        renamed = await self.context.services.pull_through.name_for(name, namespace)
        arguments["name"] = renamed
        return namespace.encode("ascii") if namespace is not None and renamed != name else None

    def _refused(self, request: HttpRequest, route: Route, name: str | None, decision: Decision) -> Response:
        if decision.answer is Ruling.CHALLENGE:
            challenge = self._challenge(request, route, name, decision.challenge_error)
            return refusals.unauthorized(decision.reason, challenge)
        return refusals.denied(decision.reason)

    def _challenge(
        self, request: HttpRequest, route: Route, name: str | None, error: str | None
    ) -> str | None:
        scopes = []
        if name is not None:
            # The name is what the path has; one that no repository can have needs no token either.
            if is_repository(name):
                scopes.append(f"repository:{name}:{WIRE_ACTIONS.get(route.action, 'pull')}")
        elif route.action is Action.SEARCH or route.pattern.startswith("/v2/_catalog"):
            scopes.append("registry:catalog:*")
        return self.context.challenge(request, scopes, error)
