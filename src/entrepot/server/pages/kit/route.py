"""`page` and `submit`: GET and POST of Litestar with what every page has, an action above all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import litestar
from litestar.enums import MediaType

from entrepot.server.access.decision.model import Action
from entrepot.server.http.guard import Asked

__all__ = ["page", "submit"]

Decorator = Callable[[Any], Any]


def page(path: str, action: Action | Asked, **more: Any) -> Decorator:
    """Shows something and changes nothing."""
    return litestar.get(path, action=action, include_in_schema=False, media_type=MediaType.HTML, **more)


def submit(path: str, action: Action | Asked, **more: Any) -> Decorator:
    """Takes a form, which the guard has seen to be ours; answers with a redirect, or the form again."""
    return litestar.post(
        path, action=action, include_in_schema=False, media_type=MediaType.HTML, status_code=200, **more
    )
