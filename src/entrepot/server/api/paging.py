"""Keyset pages: `?last=` continues after a key, `next` in the body and `Link` name the following page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response
from litestar.params import Parameter

__all__ = ["DEFAULT_N", "Last", "LastNumber", "N", "Page", "paged"]

T = TypeVar("T")
DEFAULT_N: Final = 100
MAX_N: Final = 1000

N = Annotated[int, Parameter(query="n", ge=1, le=MAX_N, description="Most items on the page.")]
Last = Annotated[str, Parameter(query="last", max_length=512, description="Continue after this key.")]
LastNumber = Annotated[
    int, Parameter(query="last", ge=0, le=2**62, description="Continue after this number.")
]


class Page(msgspec.Struct, Generic[T], kw_only=True):
    """One page."""

    items: list[T]
    next: str | None
    """Path of the following page; null on the last one."""


def paged(
    request: Request[Any, Any, Any], items: Sequence[T], n: int, key: Callable[[T], Any]
) -> Response[Page[T]]:
    """`items` holds one more than `n` when another page follows."""
    shown = list(items[:n])
    following = None
    if len(items) > n and shown:
        kept = [(k, v) for k, v in request.query_params.multi_items() if k not in {"last", "n"}]
        following = f"{request.scope['path']}?{urlencode([*kept, ('last', key(shown[-1])), ('n', n)])}"
        following = following.replace("∕", "%2F")
    headers = {"Link": f'<{following}>; rel="next"'} if following else {}
    return Response(Page(items=shown, next=following), headers=headers)
