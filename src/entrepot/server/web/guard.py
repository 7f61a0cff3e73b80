"""Before a page's handler runs: who asks, may they, and did this form come from us.

The question is the route's own (`action` beside its path), asked about the project, repository and tag in the
path, by the same policy as everywhere else.
"""

from __future__ import annotations

from typing import Any, cast

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from entrepot.server.access.errors import AccessDenied
from entrepot.server.access.model import Action, Resource
from entrepot.server.management.context import SLASH, Api, Asked
from entrepot.server.web.formbody import FORM_BYTES, LARGE, LARGE_FORM_BYTES, form_fields
from entrepot.server.web.formkey import check_form, form_key
from entrepot.server.web.visit import Visit, remember_visit

__all__ = ["page_guard"]


async def page_guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Raises FormRefused, InvalidCredentials, AccessDenied."""
    request = cast("Request[Any, Any, Any]", connection)
    api: Api = request.app.state.api
    parameters = request.path_params
    for name, value in parameters.items():
        if isinstance(value, str):
            parameters[name] = value.replace(SLASH, "/")
    is_form = request.method == "POST"
    token = None
    if is_form:
        # Before anybody is asked who they are: without the form's token no session counts.
        is_large = bool(handler.opt.get(LARGE)) and await api.is_somebody(request)
        fields = await form_fields(request, limit=LARGE_FORM_BYTES if is_large else FORM_BYTES)
        token = fields.get("_csrf", [None])[0]
    caller = await api.authenticate(request, csrf_token=token)
    if is_form:
        check_form(
            request.headers,
            base_url=caller.base_url,
            key=caller.session or form_key(request.cookies, caller.scheme),
            token=token,
        )
    visit = await Visit.begin(api, caller, request)
    remember_visit(request, visit)
    action = handler.opt.get("action")
    if action is Asked.NOBODY:
        return
    if action is Asked.SIGNED_IN:
        action = Action.MANAGE_SELF
    if not isinstance(action, Action):
        raise AccessDenied("this page has no policy")
    await api.require(
        caller,
        action,
        Resource(
            repository=parameters.get("repository"),
            tag=parameters.get("tag"),
            project=parameters.get("project"),
        ),
    )
