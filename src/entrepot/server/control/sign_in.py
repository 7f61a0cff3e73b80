"""Signing in and out with a browser."""

from __future__ import annotations

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Principal
from entrepot.server.access.secrets.sessions import create_session
from entrepot.server.control.services import Services

__all__ = ["begin_session"]


async def begin_session(services: Services, caller: Actor, who: Principal, user_agent: str) -> str:
    """The cookie's value for somebody who has just proven who they are."""
    secret = await services.write(create_session, who, caller.address, user_agent, services.now)
    return str(secret)
