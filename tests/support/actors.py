"""Who does something, in tests that call transactions directly."""

from typing import Any

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Principal, PrincipalKind


def user(name: str, *, token_id: str | None = None, **how: Any) -> Actor:
    return Actor(Principal(kind=PrincipalKind.USER, name=name, token_id=token_id), **how)
