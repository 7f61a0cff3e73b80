"""Who does something, and how they came: what a permit decides on and what audit rows say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from entrepot.server.access.decision.model import Principal, PrincipalKind

__all__ = ["SYSTEM", "Actor"]


@dataclass(frozen=True, slots=True)
class Actor:
    """One request's, command's or job's."""

    principal: Principal
    address: str | None = None
    """Of the client; None for commands and jobs."""
    request_id: str | None = None

    @property
    def name(self) -> str:
        """As lists and the audit log show it; never empty."""
        return self.principal.name or self.principal.kind.value

    @property
    def kind(self) -> str:
        return self.principal.kind.value

    @property
    def token_id(self) -> str | None:
        return self.principal.token_id


SYSTEM: Final = Actor(Principal(kind=PrincipalKind.SYSTEM, name="entrepot"))
"""The registry itself: jobs, first start, key rotation."""
