"""`GET /v1/search`: what `docker search localhost:5000/term` and `podman search` ask."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from entrepot.server.v2.context import V2Context
from entrepot.server.v2.paging import PageSizeInvalid
from entrepot.server.v2.request import Request
from entrepot.server.v2.response import Response, json_response

DEFAULT_RESULTS, MOST_RESULTS = 25, 100
MAX_TERM_LENGTH = 255


async def search(context: V2Context, request: Request) -> Response:
    """Repositories whose name contains the term."""
    term = (request.parameter("q") or "")[:MAX_TERM_LENGTH]
    count = _count(request.parameter("n"))
    visible = await context.access.visible(request.principal)
    found = await context.repositories.search(term, n=count, visible=visible)
    results = [_result(entry) for entry in found]
    body = msgspec.json.encode(
        {
            "query": term,
            "num_results": len(results),
            "num_pages": 1,
            "page": 1,
            "page_size": count,
            "results": results,
        }
    )
    return json_response(200, body)


def _count(text: str | None) -> int:
    if text is None:
        return DEFAULT_RESULTS
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise PageSizeInvalid(f"n is {text[:40]!r}; it is a number from 1 to {MOST_RESULTS}")
    return max(1, min(int(text), MOST_RESULTS))


def _result(entry: Any) -> dict[str, object]:
    name = entry if isinstance(entry, str) else entry.name
    return {
        "name": name,
        "description": getattr(entry, "description", None) or "",
        "star_count": getattr(entry, "stars", 0) or 0,
        "is_official": False,
        "is_automated": False,
    }
