"""Style sheet, script and pictures, each at an address that changes with its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import litestar
from litestar import Response
from litestar.exceptions import NotFoundException

from entrepot.server.http.guard import Asked

__all__ = ["ROUTES", "asset"]

_TYPES: Final = {
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    version: str


@cache
def _asset(name: str) -> _Asset:
    content = (files("entrepot.server.pages") / "static" / name).read_bytes()
    return _Asset(content, hashlib.sha256(content).hexdigest()[:16])


def asset(name: str) -> str:
    """Its path."""
    return f"/static/{_asset(name).version}/{name}"


# Nobody is asked who they are: every page needs these, the one to sign in too.
@litestar.get("/static/{version:str}/{name:str}", action=Asked.NOBODY, include_in_schema=False)
async def static_file(version: str, name: str) -> Response[bytes]:
    """Kept by browsers for good when the version is the present one."""
    if name not in _TYPES:
        raise NotFoundException
    found = _asset(name)
    kept = "public, max-age=31536000, immutable" if version == found.version else "no-cache"
    return Response(
        found.content,
        media_type=_TYPES[name],
        headers={
            "Cache-Control": kept,
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        },
    )


ROUTES = [static_file]
