"""The paths of pages. Pure.

A repository's name keeps its slashes in the address bar: `/repositories/acme/app/-/tags/v1`. A component
can't begin with a dash, so `/-/` ends the name; `RepositoryPaths` makes one segment of it for the router.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote, urlencode

from litestar.types import ASGIApp

__all__ = [
    "RepositoryPaths",
    "account",
    "admin",
    "home",
    "project",
    "repository",
    "repository_around",
    "with_query",
]

_REPOSITORY: Final = re.compile(rb"(/repositories/)(.+?)(/-(?:/.*)?)?\Z", re.DOTALL)
_SAFE: Final = "-._~"


def with_query(path: str, /, **parameters: Any) -> str:
    """With those parameters that have a value."""
    kept = {key: value for key, value in parameters.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(kept)}" if kept else path


def home(**parameters: Any) -> str:
    return with_query("/", **parameters)


def project(name: str, *more: object, **parameters: Any) -> str:
    return with_query(_path("/projects", name, *more), **parameters)


def repository(name: str, /, *more: object, **parameters: Any) -> str:
    base = "/repositories/" + quote(name, safe=f"/{_SAFE}")
    return with_query(_path(f"{base}/-", *more) if more else base, **parameters)


def repository_around(path: str) -> str | None:
    """The repository that a page is under, of an address as the browser shows it."""
    found = _REPOSITORY.match(path.encode())
    return found[2].decode() if found is not None and found[3] else None


def account(*more: object, **parameters: Any) -> str:
    return with_query(_path("/account", *more), **parameters)


def admin(*more: object, **parameters: Any) -> str:
    return with_query(_path("/admin", *more), **parameters)


def _path(base: str, *parts: object) -> str:
    return "/".join([base, *(quote(str(part), safe=f"{_SAFE}:@+") for part in parts)])


class RepositoryPaths:
    """ASGI: a repository's name becomes one segment of the raw path, its slashes encoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw: bytes = scope.get("raw_path", b"")
        found = _REPOSITORY.match(raw)
        if found is not None:
            name = found[2].rstrip(b"/").replace(b"/", b"%2F")
            raw = found[1] + name + (found[3] or b"")
            scope = {**scope, "raw_path": raw, "path": raw.decode("latin-1")}
        await self._app(scope, receive, send)
