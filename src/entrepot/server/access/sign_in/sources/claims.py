"""What a token of another issuer says, judged after its signature. Pure.

A verified token is still somebody else's document: each value may be of any JSON type, or text that no column
takes. What can't be right is refused here, as InvalidCredentials. OpenID Connect Core 2, 3.1.3.7; RFC 7519.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Any, Final

from entrepot.server.access.decision.errors import InvalidCredentials

__all__ = ["check_claims", "check_nonce", "groups_of", "text_of"]

_SKEW_S: Final = 60
_MAX_SUBJECT: Final = 255
"""Characters; OpenID Connect Core 2 allows no more."""
_MAX_TEXT: Final = 1000
_MAX_GROUPS: Final = 1000


def check_claims(
    claims: Mapping[str, Any], *, issuer: str, audience: str, now: float, of_a_person: bool = False
) -> None:
    """Raises InvalidCredentials unless `issuer` made it for `audience` and it holds now.

    A token for several parties names the one that asked for it (`azp`): without, any of the others could
    bring it here. `of_a_person`: an ID token, whose `azp` is ours even when it is for us alone; there are CI
    systems that put their own client there.
    """
    meant_for = claims.get("aud")
    audiences = meant_for if isinstance(meant_for, list) else [meant_for]
    subject = claims.get("sub")
    if claims.get("iss") != issuer or audience not in audiences or not _is_subject(subject):
        raise InvalidCredentials("the token was made for somebody else")
    party = claims.get("azp")
    if party != audience and (len(audiences) > 1 or (of_a_person and party is not None)):
        raise InvalidCredentials("the token was made for somebody else")
    expires = _moment(claims, "exp")
    if expires is None or now >= expires + _SKEW_S:
        raise InvalidCredentials("the token has expired")
    for name in ("nbf", "iat"):
        begins = _moment(claims, name)
        if begins is not None and begins > now + _SKEW_S:
            raise InvalidCredentials("the token is not valid yet")


def check_nonce(claims: Mapping[str, Any], expected: str) -> None:
    """Raises InvalidCredentials for the ID token of another sign-in."""
    given = claims.get("nonce")
    if not isinstance(given, str) or not secrets.compare_digest(
        given.encode(errors="surrogatepass"), expected.encode()
    ):
        raise InvalidCredentials("the sign-in does not belong to this browser; start again")


def text_of(value: Any) -> str:
    """What a person may be shown and a column takes; empty for what isn't text."""
    if not isinstance(value, str) or "\0" in value:
        return ""
    return value.encode(errors="replace").decode()[:_MAX_TEXT]


def groups_of(value: Any) -> tuple[str, ...] | None:
    """Group names, as a list or separated by spaces; None when the token says nothing about them."""
    if value is None:
        return None
    found = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(name for name in map(text_of, found[:_MAX_GROUPS]) if name)


def _is_subject(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_SUBJECT and text_of(value) == value


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    """Seconds since 1970. Raises InvalidCredentials when it is there and no number."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidCredentials(f"the token's {name} is not a time")
    return value
