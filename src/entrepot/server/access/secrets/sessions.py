"""Web sessions: a cookie that names a row, and the value that proves a form came from our own page.

The cookie is `__Host-entrepot` over HTTPS (bound to this host, this path, HTTPS alone) and `entrepot-session`
on plain HTTP, where browsers refuse that prefix. It never authorises `/v2/`.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from sqlalchemy import Connection, delete

from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Principal
from entrepot.server.access.secrets.access_tokens import entry_detail, mint
from entrepot.server.access.secrets.secret import SecretText
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables.access import access_token

__all__ = [
    "LIFE_S",
    "cookie_name",
    "create_session",
    "csrf_token",
    "csrf_token_is_right",
    "end_session",
    "end_sessions",
]

LIFE_S: Final = 7 * 24 * 3600


def cookie_name(scheme: str) -> str:
    return "__Host-entrepot" if scheme == "https" else "entrepot-session"


def create_session(
    connection: Connection, who: Principal, address: str | None, user_agent: str, now: int
) -> SecretText:
    """The cookie's value."""
    by = Actor(who, address)
    record(connection, by, "sign-in", now=now, detail={"with": who.credential})
    secret = mint(
        connection,
        by,
        now=now,
        kind="ses",
        owner_id=who.id,
        owner=who.name,
        name=user_agent[:200],
        expires_at=now + LIFE_S * SECOND,
        detail=entry_detail(who),
    )
    return secret.text


def end_session(connection: Connection, who: Principal, now: int) -> None:
    """Sign out: the cookie's value is worth nothing from then on."""
    connection.execute(
        delete(access_token).where(access_token.c.id == who.token_id, access_token.c.kind == "ses")
    )
    record(connection, Actor(who), "sign-out", now=now)


def end_sessions(connection: Connection, principal_id: int) -> None:
    """On every device."""
    connection.execute(
        delete(access_token).where(access_token.c.principal_id == principal_id, access_token.c.kind == "ses")
    )


def csrf_token(session: str) -> str:
    """What a form or script of ours sends along (`_csrf`, `X-CSRF-Token`); other sites can't know it."""
    return hmac.new(session.encode(), b"csrf", hashlib.sha256).hexdigest()


def csrf_token_is_right(session: str, given: str | None) -> bool:
    return given is not None and hmac.compare_digest(csrf_token(session), given)
