"""Refresh tokens: what `docker login` keeps in place of the password.

Only a password earns one: a personal access token or a robot's secret is narrow and revocable already, and
a refresh token made from it would outlive it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, select

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Principal
from entrepot.server.access.secrets.access_tokens import entry_detail, mint
from entrepot.server.access.secrets.secret import NewSecret
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables.access import access_token

__all__ = ["LIFE_S", "MOST_PER_USER", "mint_refresh_token"]

LIFE_S: Final = 30 * 24 * 3600
MOST_PER_USER: Final = 50
"""The oldest ones go when more machines log in."""


def mint_refresh_token(connection: Connection, who: Principal, client: str, now: int) -> NewSecret:
    """A new one for this log-in."""
    mine = (access_token.c.principal_id == who.id) & (access_token.c.kind == "ref")
    kept = (
        select(access_token.c.id)
        .where(mine)
        .order_by(access_token.c.created_at.desc())
        .limit(MOST_PER_USER - 1)
    )
    ids = list(connection.execute(kept).scalars())
    connection.execute(delete(access_token).where(mine, access_token.c.id.not_in(ids)))
    return mint(
        connection,
        Actor(who),
        now=now,
        kind="ref",
        owner_id=who.id,
        owner=who.name,
        name="".join(filter(str.isprintable, client))[:64],
        expires_at=now + LIFE_S * SECOND,
        detail=entry_detail(who),
    )
