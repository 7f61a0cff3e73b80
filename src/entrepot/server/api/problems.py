"""Errors of the management API: `application/problem+json` (RFC 9457), one shape for all."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.observability.logs import get_log
from entrepot.server.http.outage import told
from entrepot.server.http.problem_status import problem_status

__all__ = ["HANDLERS", "PROBLEMS", "Problem"]

log = get_log(__name__)
MEDIA_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, kw_only=True):
    """What went wrong."""

    type: Annotated[str, msgspec.Meta(examples=["urn:entrepot:error:invalid-name"])]
    """A URN that ends in the error's stable code."""
    title: Annotated[str, msgspec.Meta(examples=["project name 'A' is not valid"])]
    status: Annotated[int, msgspec.Meta(examples=[400])]
    detail: Annotated[str | None, msgspec.Meta(examples=["use lower-case letters and digits"])] = None
    fields: dict[str, str] = msgspec.field(default_factory=dict)
    """What is wrong with which field of the request."""
    rule: str | None = None
    """The rule that refused."""
    oldest: int | None = None
    """Of events that are gone (410): the first that is kept."""


PROBLEMS: Final = {
    status: ResponseSpec(Problem, description=description, media_type=MEDIA_TYPE, generate_examples=False)
    for status, description in {
        400: "The request can't be right.",
        401: "Sign in first.",
        403: "These credentials may not do this.",
        404: "Not there, or not for you.",
        409: "The present state forbids it.",
        410: "It was there, and is not kept any more.",
        412: "It was changed meanwhile.",
        429: "Too many requests.",
        503: "Not now.",
    }.items()
}


def _answer(problem: Problem, headers: dict[str, str] | None = None) -> Response[Problem]:
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def _known(request: Request[Any, Any, Any], error: EntrepotError) -> Response[Problem]:
    sent: Any = request.scope.get("entrepot.request")
    error = told(error, path=str(request.scope["path"]), request_id=sent.id if sent is not None else "")
    status = problem_status(error)
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="entrepot"'
    retry_after_s = getattr(error, "retry_after_s", None)
    if status in {429, 503}:
        headers["Retry-After"] = str(max(1, round(retry_after_s or 5)))
    return _answer(
        Problem(
            type=f"urn:entrepot:error:{error.code}",
            title=error.message,
            status=status,
            detail=error.hint,
            rule=getattr(error, "rule", None) or None,
            oldest=getattr(error, "oldest", None),
        ),
        headers,
    )


def _invalid(_request: Request[Any, Any, Any], error: ValidationException) -> Response[Problem]:
    fields: dict[str, str] = {}
    if isinstance(error.extra, list):
        for item in error.extra:
            if isinstance(item, dict):
                fields[str(item.get("key") or "body")] = str(item.get("message", "is not valid"))
    return _answer(
        Problem(
            type="urn:entrepot:error:invalid-input",
            title="the request is not valid",
            status=400,
            fields=fields,
        )
    )


def _http(_request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    status = error.status_code
    if status >= 500:
        log.error("request failed", error=error.detail)
    titles = {404: "there is nothing at this address", 405: "the method is not possible here"}
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    return _answer(
        Problem(
            type="urn:entrepot:error:http",
            title=titles.get(status, error.detail if status < 500 else "the registry failed"),
            status=status,
        ),
        headers,
    )


def _unexpected(request: Request[Any, Any, Any], _error: Exception) -> Response[Problem]:
    log.exception("request failed", path=str(request.scope["path"]))
    return _answer(
        Problem(type="urn:entrepot:error:internal", title="the registry failed; its log says why", status=500)
    )


def _too_deep(request: Request[Any, Any, Any], _error: RecursionError) -> Response[Problem]:
    """A body nested so deeply that no reader follows it."""
    return _known(request, InvalidInput("the request is nested too deeply"))


HANDLERS: Final[dict[Any, Any]] = {
    EntrepotError: _known,
    RecursionError: _too_deep,
    ValidationException: _invalid,
    HTTPException: _http,
    Exception: _unexpected,
}
