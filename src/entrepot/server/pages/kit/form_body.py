"""The body of a form: read with a limit, taken apart by us, kept by nobody.

Litestar's own reader takes megabytes from anybody and remembers what it took apart, passwords included.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import Request
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from entrepot.errors import InvalidInput

__all__ = ["FORM_BYTES", "LARGE", "LARGE_FORM_BYTES", "form_fields", "parse_form"]

FORM_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 500
LARGE: Final = "large_form"
"""Option of a page that takes LARGE_FORM_BYTES, from who is signed in."""
LARGE_FORM_BYTES: Final = 1280 * 1024
"""A README of 100,000 characters, of which each may be twelve bytes here."""
_SCOPE_KEY: Final = "entrepot.form"
_KIND: Final = "application/x-www-form-urlencoded"


async def form_fields(request: Request[Any, Any, Any], *, limit: int = FORM_BYTES) -> dict[str, list[str]]:
    """Values by field; of another Content-Type nothing is read. The body is read once a request.

    Raises RequestEntityTooLarge without reading on, InvalidInput.
    """
    scope: dict[str, Any] = request.scope  # type: ignore[assignment]
    if _SCOPE_KEY not in scope:
        is_form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == _KIND
        scope[_SCOPE_KEY] = parse_form(await _body(request, limit)) if is_form else {}
    found: dict[str, list[str]] = scope[_SCOPE_KEY]
    return found


async def _body(request: Request[Any, Any, Any], limit: int) -> bytes:
    announced = request.content_length
    if announced is not None and announced > limit:
        raise RequestEntityTooLarge
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise RequestEntityTooLarge
        parts.append(part)
    return b"".join(parts)


def parse_form(body: bytes) -> dict[str, list[str]]:
    """Values by field. Raises InvalidInput. Pure."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidInput(
            f"the form can't be read: it isn't percent-encoded, or has more than {MAX_FIELDS} fields"
        ) from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        # No keyboard has a NUL, and not every database keeps it.
        fields.setdefault(name, []).append(value.replace("\0", ""))
    return fields
