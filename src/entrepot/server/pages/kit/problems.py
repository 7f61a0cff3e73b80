"""Refusals and failures as pages: what happened, and what to do now."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from litestar import Request, Response
from litestar.enums import MediaType
from litestar.exceptions import HTTPException

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.observability.logs import get_log
from entrepot.oci.reference import parse_repository
from entrepot.server.http.guard import identify
from entrepot.server.http.outage import told
from entrepot.server.http.problem_status import problem_status
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.headers import PAGE_HEADERS
from entrepot.server.pages.kit.render import render
from entrepot.server.pages.kit.visit import PageVisit, remember_visit, visit_of

__all__ = ["PAGE_HANDLERS"]

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class _Words:
    title: str
    advice: str


_WORDS: Final = {
    400: _Words("That can't be right", "Go back, change it, and send it again."),
    401: _Words("Sign in first", "What you asked for is for those who are signed in."),
    403: _Words(
        "This is not for you",
        "Ask an owner of the project, or an admin, for the right to do it. Or is the name another one? "
        "What is not there is answered in the same way.",
    ),
    404: _Words("Nothing here", "It may have been deleted or renamed, or you may not see it."),
    405: _Words("Not that way", "This address is for forms; open the page before it."),
    409: _Words("Not possible as things are", "Load the page again to see the present state."),
    412: _Words("Changed by somebody else", "Reload the page, then make your change again."),
    413: _Words("Too much", "Send less at once."),
    429: _Words("Too many attempts", "Wait a moment, then try again."),
    503: _Words("Not now", "The registry can't do this at the moment. Try again shortly."),
}
_BY_RULE: Final = {
    "open-mode": _Words(
        "Not in an open registry",
        "Users, roles and tokens come with accounts: set access.mode to accounts and start it again.",
    ),
    "read-only": _Words(
        "Read-only for now",
        "Nothing was changed. Pulls go on; an admin says when changes are possible again.",
    ),
    "csrf": _Words(
        "That form was too old", "Nothing was changed. Go back, load the page again, and send it from there."
    ),
}
"""Where nobody's leave would help."""
_OURS: Final = frozenset(
    {"account", "admin", "new-project", "projects", "repositories", "search", "setup", "sign-in", "upstreams"}
)
"""First parts of our own pages: whoever opens one looks for no repository of that name."""
_FAILED: Final = _Words(
    "The registry failed", "Try again. If it goes on, an admin finds the reason in the log."
)


def _page(
    request: Request[Any, Any, Any], status: int, message: str, *, hint: str = "", rule: str = ""
) -> Response[Any]:
    visit = visit_of(request)
    sent: Any = request.scope.get("entrepot.request")
    path = str(sent.path if sent is not None else request.scope["path"])
    context = {
        "code": status,
        "words": _BY_RULE.get(rule) or _WORDS.get(status, _FAILED if status >= 500 else _WORDS[400]),
        "message": "" if rule == "csrf" else message,  # its words are for programs
        "hint": hint,
        "rule": rule,
        "request_id": sent.id if sent is not None else "",
        "wanted": _repository_in(path) if status == 404 else None,
        "around": _repository_around(path) if status == 404 else None,
    }
    if visit is not None:
        return visit.render("problem.html", status=status, **context)
    text = render("problem.html", 0, visit=None, note=None, token="", **context)
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=PAGE_HEADERS)


class _LatePage(Response[Any]):
    """For an address without a page, where no guard has asked who the visitor is."""

    def __init__(self, request: Request[Any, Any, Any], status: int, message: str) -> None:
        super().__init__(None, status_code=status)
        self._request, self._status, self._message = request, status, message

    def to_asgi_response(self, *_args: Any, **_options: Any) -> Any:
        async def respond(scope: Any, receive: Any, send: Any) -> None:
            with suppress(EntrepotError):
                services = self._request.app.state.services
                caller = await identify(self._request)
                remember_visit(self._request, await PageVisit.begin(services, caller, self._request))
            page = _page(self._request, self._status, self._message)
            await page.to_asgi_response(None, self._request)(scope, receive, send)

        return respond


def _repository_in(path: str) -> str | None:
    """Somebody who types an image's name behind the host may mean its page."""
    if path.strip("/").partition("/")[0] in _OURS:
        return None
    try:
        return parse_repository(path.strip("/").partition(":")[0])
    except InvalidInput:
        return None


def _repository_around(path: str) -> str | None:
    try:
        return parse_repository(addresses.repository_around(path) or "")
    except InvalidInput:
        return None


def _known(request: Request[Any, Any, Any], error: EntrepotError) -> Response[Any]:
    sent: Any = request.scope.get("entrepot.request")
    error = told(error, path=str(request.scope["path"]), request_id=sent.id if sent is not None else "")
    status = problem_status(error)
    visit = visit_of(request)
    if status == 401 and request.method == "GET" and not (visit is not None and visit.is_signed_in):
        return _to_sign_in(request)
    answer = _page(
        request,
        status,
        _sentence(error.message, name=visit.name if visit is not None else ""),
        hint=error.hint or "",
        rule=getattr(error, "rule", "") or "",
    )
    if status in {429, 503}:
        seconds = getattr(error, "retry_after_s", None)
        answer.headers["Retry-After"] = str(max(1, round(seconds or 5)))
    return answer


def _to_sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    sent: Any = request.scope.get("entrepot.request")
    path = str(sent.path) if sent is not None else str(request.scope["path"])
    query = request.scope["query_string"].decode("latin-1")
    target = addresses.with_query("/sign-in", next=f"{path}?{query}" if query else path)
    return Response(None, status_code=303, headers={**PAGE_HEADERS, "Location": target})


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    if error.status_code >= 500:
        log.error("page failed", error=error.detail)
    message = {404: "There is no page at this address."}.get(error.status_code, "")
    if visit_of(request) is None:
        return _LatePage(request, error.status_code, message)
    return _page(request, error.status_code, message)


def _unexpected(request: Request[Any, Any, Any], _error: Exception) -> Response[Any]:
    log.exception("page failed", path=str(request.scope["path"]))
    return _page(request, 500, "")


def _sentence(text: str, *, name: str) -> str:
    """The visitor's name stays as it is."""
    first = text[:1] if name and text.startswith(f"{name} ") else text[:1].upper()
    return first + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


PAGE_HANDLERS: Final[dict[Any, Any]] = {
    EntrepotError: _known,
    HTTPException: _http,
    Exception: _unexpected,
}
