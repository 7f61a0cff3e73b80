"""Before a page's handler runs: who asks, may they, and did this form come from us.

The policy is asked as everywhere else (`http.guard`); a visit is there before it, so that a refusal is a page
of the visitor's.
"""

from __future__ import annotations

from typing import Any, cast

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from entrepot.server.http.caller import is_somebody
from entrepot.server.http.guard import ask_policy, identify
from entrepot.server.pages.kit.form_body import FORM_BYTES, LARGE, LARGE_FORM_BYTES, form_fields
from entrepot.server.pages.kit.form_key import check_form, form_key
from entrepot.server.pages.kit.visit import PageVisit, remember_visit

__all__ = ["page_guard"]


async def page_guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Raises FormRefused, InvalidCredentials, AccessDenied."""
    request = cast("Request[Any, Any, Any]", connection)
    is_form = request.method == "POST"
    token = None
    if is_form:
        # Before anybody is asked who they are: without the form's token no session counts.
        is_large = bool(handler.opt.get(LARGE)) and await is_somebody(request.app.state.services, request)
        fields = await form_fields(request, limit=LARGE_FORM_BYTES if is_large else FORM_BYTES)
        token = fields.get("_csrf", [None])[0]
    caller = await identify(request, csrf_token=token)
    if is_form:
        check_form(
            request.headers,
            base_url=caller.base_url,
            key=caller.session or form_key(request.cookies, caller.scheme),
            token=token,
        )
    remember_visit(request, await PageVisit.begin(request.app.state.services, caller, request))
    await ask_policy(request, handler)
