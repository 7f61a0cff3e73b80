"""The routing table of `/v2/`: a row is method, path pattern, action, handler. Tests and docs read it too.

Patterns: `{name}` is a repository name (any number of components; its grammar is checked by the handler's
argument), `{digest}` one segment with a colon, `{tag}`, `{reference}` and `{subject}` one segment, `[/]` an
optional slash. distribution-spec, "Endpoints"; docker's search for `/v1/`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from entrepot.server.access.decision.model import Action
from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import Response
from entrepot.server.v2 import blobs, catalog, manifests, ping, referrers, search, tags, uploads
from entrepot.server.v2.context import V2Context

Handler = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row. `action` None: no question is asked (nothing is told either)."""

    method: str
    pattern: str
    action: Action
    handler: Handler

    @property
    def label(self) -> str:
        """The pattern as metrics and logs name it."""
        return self.pattern.replace("[/]", "/")


_MANIFEST = "/v2/{name}/manifests/{reference}"
_BLOB = "/v2/{name}/blobs/{digest}"
_UPLOADS = "/v2/{name}/blobs/uploads[/]"
_UPLOAD = "/v2/{name}/blobs/uploads/{upload}"

ROUTES: tuple[Route, ...] = (
    Route("GET", _MANIFEST, Action.PULL, manifests.get),
    Route("HEAD", _MANIFEST, Action.PULL, manifests.get),
    Route("PUT", _MANIFEST, Action.PUSH, manifests.put),
    Route("DELETE", "/v2/{name}/manifests/{digest}", Action.DELETE_MANIFEST, manifests.delete_manifest),
    Route("DELETE", "/v2/{name}/manifests/{tag}", Action.DELETE_TAG, manifests.delete_tag),
    Route("GET", _BLOB, Action.PULL, blobs.get),
    Route("HEAD", _BLOB, Action.PULL, blobs.head),
    Route("DELETE", _BLOB, Action.DELETE_BLOB, blobs.delete),
    Route("POST", _UPLOADS, Action.PUSH, uploads.start),
    Route("GET", _UPLOAD, Action.PUSH, uploads.status),
    Route("HEAD", _UPLOAD, Action.PUSH, uploads.status),
    Route("PATCH", _UPLOAD, Action.PUSH, uploads.append),
    Route("PUT", _UPLOAD, Action.PUSH, uploads.finish),
    # Cancelling needs what starting needed; clients hold a push token, never one for delete.
    Route("DELETE", _UPLOAD, Action.PUSH, uploads.cancel),
    Route("GET", "/v2/{name}/tags/list[/]", Action.READ, tags.list_tags),
    Route("HEAD", "/v2/{name}/tags/list[/]", Action.READ, tags.list_tags),
    Route("GET", "/v2/{name}/referrers/{subject}", Action.PULL, referrers.list_referrers),
    Route("HEAD", "/v2/{name}/referrers/{subject}", Action.PULL, referrers.list_referrers),
    Route("GET", "/v2/_catalog[/]", Action.LIST, catalog.list_repositories),
    Route("HEAD", "/v2/_catalog[/]", Action.LIST, catalog.list_repositories),
    Route("GET", "/v2[/]", Action.PING, ping.ping),
    Route("HEAD", "/v2[/]", Action.PING, ping.ping),
    Route("GET", "/v1/_ping", Action.SEARCH, ping.ping_v1),
    Route("GET", "/v1/search", Action.SEARCH, search.search),
)

_PLACEHOLDERS = {
    "{name}": "(?P<name>.+)",
    "{reference}": "(?P<reference>[^/]++)",
    "{tag}": "(?P<tag>[^/]++)",
    "{digest}": "(?P<digest>(?=(?:[^/:%]|%(?!3[aA]))*+(?::|%3[aA]))[^/]++)",
    "{subject}": "(?P<subject>[^/]++)",
    "{upload}": "(?P<upload>[^/:]++)",
    "[/]": "/?",
}


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression over the whole raw path."""
    for mark, expression in _PLACEHOLDERS.items():
        pattern = pattern.replace(mark, expression)
    return re.compile(pattern)


class Router:
    """Finds the row of a request; patterns are tried in the table's order."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        by_pattern: dict[str, dict[str, Route]] = {}
        for route in routes:
            methods = by_pattern.setdefault(route.pattern, {})
            if route.method in methods:
                raise ValueError(f"two rows for {route.method} {route.pattern}")
            methods[route.method] = route
        self._table = [
            (compile_pattern(pattern).fullmatch, methods) for pattern, methods in by_pattern.items()
        ]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, Any]] | frozenset[str]:
        """(row, arguments), else the methods that the path does have: empty when there is no such path."""
        allowed: set[str] = set()
        for match, methods in self._table:
            found = match(path)
            if found is None:
                continue
            route = methods.get(method)
            if route is not None:
                return route, found.groupdict()
            allowed.update(methods)
        return frozenset(allowed)


__all__ = ["ROUTES", "HttpRequest", "Response", "Route", "Router", "V2Context", "compile_pattern"]
