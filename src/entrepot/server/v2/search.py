"""`GET /v1/search`: what `docker search localhost:5000/term` and `podman search` ask."""

from __future__ import annotations

import re

import msgspec

from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import Response, json_response
from entrepot.server.repos.repositories import FoundRepository
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.paging import PageSizeInvalid

DEFAULT_RESULTS, MOST_RESULTS = 25, 100
MAX_TERM_LENGTH = 255


async def search(context: V2Context, request: HttpRequest) -> Response:
    """Repositories that have each word of the term in their name or description."""
    term = (request.parameter("q") or "")[:MAX_TERM_LENGTH]
    count = min(_whole_number("n", request.parameter("n"), DEFAULT_RESULTS), MOST_RESULTS)
    visible = await context.services.access.visible(request.principal)
    number = _whole_number("page", request.parameter("page"), 1)
    found, total = await context.services.repositories.search(term, n=count, page=number, visible=visible)
    results = [_result(entry) for entry in found]
    body = msgspec.json.encode(
        {
            "query": term,
            "num_results": total,
            "num_pages": max(1, -(-total // count)),
            "page": number,
            "page_size": count,
            "results": results,
        }
    )
    return json_response(200, body)


def _whole_number(name: str, text: str | None, default: int) -> int:
    """Raises PageSizeInvalid."""
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise PageSizeInvalid(f"{name} is {text[:40]!r}; it is a whole number from 1 on")
    return max(1, int(text))


def _result(entry: FoundRepository) -> dict[str, object]:
    return {
        "name": entry.name,
        "description": entry.description,
        "star_count": 0,
        "is_official": False,
        "is_automated": False,
    }
