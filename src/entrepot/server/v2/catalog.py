"""`GET /v2/_catalog`: the repositories the caller may see. Filtered, never refused."""

from __future__ import annotations

import msgspec

from entrepot.oci.distribution import catalog_path
from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import Response, json_response
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.paging import next_link, page_of


async def list_repositories(context: V2Context, request: HttpRequest) -> Response:
    count, last = page_of(request, most=context.services.config.limits.page_size)
    visible = await context.services.access.visible(request.principal)
    names, more = await context.services.repositories.list(last=last, n=count, visible=visible)
    body = msgspec.json.encode({"repositories": names})
    if more and names:
        return json_response(200, body, next_link(catalog_path(), n=count, last=names[-1]))
    return json_response(200, body)
