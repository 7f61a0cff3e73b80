"""The cookie of a web session, and where a browser may be sent after it has signed in."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from litestar.datastructures import Cookie

from entrepot.server.access.secrets.sessions import LIFE_S, cookie_name

__all__ = ["local_path", "session_cookie"]

_KEPT: Final = "%/?#[]@!$&'()*+,;=:~"
"""RFC 3986 2.2, and what is encoded already."""


def session_cookie(value: str, scheme: str, *, max_age_s: int = LIFE_S) -> Cookie:
    return Cookie(
        key=cookie_name(scheme),
        value=value,
        max_age=max_age_s,
        path="/",
        httponly=True,
        secure=scheme == "https",
        samesite="lax",
    )


def local_path(text: str | None) -> str:
    """Where to go after signing in: a path of this site, never another one, as ASCII for a header."""
    if not text or not text.startswith("/") or text.startswith("//") or "\\" in text:
        return "/"
    if any(character < " " or character == "\x7f" for character in text):
        return "/"
    return quote(text, safe=_KEPT, errors="replace")
