"""`ETag` and `If-Match` of things that several people may change."""

from __future__ import annotations

from typing import Any

from litestar import Request

__all__ = ["etag", "expected", "expected_number"]


def etag(version: object) -> dict[str, str]:
    return {"ETag": f'"{version}"'}


def expected(request: Request[Any, Any, Any]) -> str | None:
    """The version named by If-Match; None when any will do."""
    value = request.headers.get("if-match", "").strip()
    return None if value in {"", "*"} else value.removeprefix("W/").strip('"')


def expected_number(request: Request[Any, Any, Any]) -> int | None:
    """As `expected`, for versions that are numbers; what is no number matches nothing."""
    value = expected(request)
    return None if value is None else int(value) if value.isascii() and value.isdigit() else -1
