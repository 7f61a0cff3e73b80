# ruff: noqa: ARG001, ARG002 - the Protocol names the arguments; open mode needs none of them
"""Open mode: whoever reaches the registry may do everything. The listener keeps strangers away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from entrepot.server.access.decision.change import MayRead, Permit
from entrepot.server.access.decision.model import Action, Decision, Principal, PrincipalKind, Resource
from entrepot.server.access.decision.patterns import Visible

__all__ = ["OPEN_PRINCIPAL", "OpenPolicy"]

OPEN_PRINCIPAL: Final = Principal(kind=PrincipalKind.OPEN, name="open")
_ALLOWED: Final = Decision(allowed=True, rule="open-mode", reason="this registry has no accounts")


class OpenPolicy:
    """AccessControl of a registry without accounts. Credentials are accepted and ignored."""

    mode = "open"

    async def authenticate(self, authorization: str | None, *, address: str | None = None) -> Principal:
        return OPEN_PRINCIPAL

    async def decide(
        self, principal: Principal, action: Action, repository: str | None = None, tag: str | None = None
    ) -> Decision:
        return _ALLOWED

    def challenge(self, *, base_url: str, scopes: Sequence[str] = (), error: str | None = None) -> str | None:
        return None

    def permit_for(self, principal: Principal) -> Permit:
        return _permit_all

    def decide_in(
        self, connection: Connection, principal: Principal, action: Action, resource: Resource
    ) -> Decision:
        return _ALLOWED

    def visible_in(self, connection: Connection, principal: Principal) -> Visible:
        return Visible(everything=True)

    def may_read_for(self, principal: Principal) -> MayRead:
        return _may_read_all

    async def visible(self, principal: Principal) -> Visible:
        return Visible(everything=True)


def _permit_all(connection: Connection, change: Any) -> None:
    return None


def _may_read_all(connection: Connection, repository: str) -> bool:
    return True
