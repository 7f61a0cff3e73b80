"""Litestar without its memory of requests.

It keeps what it took apart of the last 1,024 query strings, cookies and forms, by their text: passwords and
sessions stay in memory for as long as nobody comes, and a stranger fills it with hundreds of megabytes, since
a cookie header of 12 KB becomes a dictionary of 200 KB. Nothing is gained: hardly any two requests are alike.
What it keeps of paths may stay: there are secrets in none, and `limits.url_bytes` is their length.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from litestar import _parsers
from litestar._kwargs import extractors

__all__ = ["forget_requests"]

_CACHED: Final[tuple[Callable[..., Any], ...]] = (
    _parsers.parse_url_encoded_form_data,
    _parsers.parse_query_string,
    _parsers.parse_cookie_string,
    extractors.create_query_default_dict,
)


def forget_requests() -> None:
    """Put the functions behind the caches into every module of Litestar that uses them. Once a process."""
    plain = {id(cached): cached.__wrapped__ for cached in _CACHED if hasattr(cached, "__wrapped__")}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "litestar":
            continue
        for attribute, value in list(vars(module).items()):
            if id(value) in plain:
                setattr(module, attribute, plain[id(value)])
