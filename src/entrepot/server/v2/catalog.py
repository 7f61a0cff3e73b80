"""`GET /v2/_catalog`: the repositories the caller may see. Filtered, never refused."""

from __future__ import annotations

import msgspec

from entrepot.oci.distribution import catalog_path
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.paging import next_link, page_of
from entrepot.server.v2.request import Request
from entrepot.server.v2.response import Response, json_response


async def list_repositories(context: V2Context, request: Request) -> Response:
    count, last = page_of(request, most=context.config.limits.page_size)
    visible = await context.access.visible(request.principal)
    names, more = await context.repositories.list(last=last, n=count, visible=visible)
    body = msgspec.json.encode({"repositories": names})
    if more and names:
        return json_response(200, body, next_link(catalog_path(), n=count, last=names[-1]))
    return json_response(200, body)
