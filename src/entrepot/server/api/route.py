"""`get`, `post`, … of Litestar with what every route here has: an action, and its problems described."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import litestar

from entrepot.server.access.decision.model import Action
from entrepot.server.api.problems import PROBLEMS
from entrepot.server.http.guard import Asked

__all__ = ["delete", "get", "patch", "post", "put"]

Decorator = Callable[[Any], Any]


def get(path: str, action: Action | Asked, summary: str, **more: Any) -> Decorator:
    return litestar.get(path, action=action, summary=summary, **_common(more))


def post(path: str, action: Action | Asked, summary: str, **more: Any) -> Decorator:
    return litestar.post(path, action=action, summary=summary, **_common(more))


def put(path: str, action: Action | Asked, summary: str, **more: Any) -> Decorator:
    return litestar.put(path, action=action, summary=summary, **_common(more))


def patch(path: str, action: Action | Asked, summary: str, **more: Any) -> Decorator:
    return litestar.patch(path, action=action, summary=summary, **_common(more))


def delete(path: str, action: Action | Asked, summary: str, **more: Any) -> Decorator:
    return litestar.delete(path, action=action, summary=summary, **_common(more))


def _common(more: dict[str, Any]) -> dict[str, Any]:
    return {"responses": PROBLEMS, "raises": [], **more}
