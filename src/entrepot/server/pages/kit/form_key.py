"""What proves that a form came from our own page: a token bound to the session, or to a cookie of its own.

Somebody who is signed in has the session for that. Everybody else (the sign-in form, open mode) gets a cookie
that means nothing but this.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

from entrepot.errors import Denied
from entrepot.server.control.sign_in import csrf_token, csrf_token_is_right

__all__ = [
    "FormRefused",
    "check_form",
    "form_cookie",
    "form_cookie_name",
    "form_key",
    "form_token",
    "new_form_key",
]

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")


class FormRefused(Denied):
    """A form that did not come from a page of ours, or from one that is too old."""

    code = "form-refused"


def form_cookie_name(scheme: str) -> str:
    return "__Host-entrepot-form" if scheme == "https" else "entrepot-form"


def form_key(cookies: Mapping[str, str], scheme: str) -> str | None:
    """The cookie's value; None when there is none, or it is not of our making."""
    value = cookies.get(form_cookie_name(scheme), "")
    return value if _KEY.match(value) else None


def new_form_key() -> str:
    return secrets.token_urlsafe(32)


def form_cookie(key: str, scheme: str) -> Cookie:
    return Cookie(
        key=form_cookie_name(scheme),
        value=key,
        path="/",
        httponly=True,
        secure=scheme == "https",
        samesite="strict",
    )


def form_token(key: str) -> str:
    return csrf_token(key)


def check_form(headers: Mapping[str, str], *, base_url: str, key: str | None, token: Any) -> None:
    """Raises FormRefused unless our own origin sent it with our own token.

    A browser always names the origin of a form, so one that is missing is refused too.
    """
    origin = headers.get("origin")
    if origin is None or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise FormRefused("this form was sent by another site, or by a browser that does not say by which")
    sent, own = urlsplit(origin), urlsplit(base_url)
    if (sent.scheme, sent.netloc) != (own.scheme, own.netloc):
        raise FormRefused(
            f"this form was sent from {origin}", hint=f"this registry's address is {base_url}; use that"
        )
    if key is None or not isinstance(token, str) or not csrf_token_is_right(key, token):
        raise FormRefused(
            "this form is too old, or cookies are switched off",
            hint="go back, load the page again, and send it once more",
        )
