"""`GET /v2/<name>/tags/list` (distribution-spec, "Listing Tags")."""

from __future__ import annotations

import msgspec

from entrepot.oci.distribution import tags_path
from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import Response, json_response
from entrepot.server.v2 import names
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.paging import next_link, page_of


async def list_tags(context: V2Context, request: HttpRequest, name: str) -> Response:
    """Sorted by bytes, at most `limits.page_size` a page."""
    repository = names.repository(name)
    count, last = page_of(request, most=context.services.config.limits.page_size)
    tags, more = await context.services.tags.list(repository, last=last, n=count)
    body = msgspec.json.encode({"name": repository, "tags": tags})
    if more and tags:
        return json_response(200, body, next_link(tags_path(repository), n=count, last=tags[-1]))
    return json_response(200, body)
