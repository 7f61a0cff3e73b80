"""What the handlers of the registry API work with: the services, and what only this face needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot.server.access.decision.actor import Actor
from entrepot.server.control.services import Services
from entrepot.server.v2.redirect import RedirectRule

if TYPE_CHECKING:
    from entrepot.server.http.request import HttpRequest


@dataclass(slots=True)
class V2Context:
    """One per worker."""

    services: Services
    redirect: RedirectRule

    @classmethod
    def of(cls, services: Services) -> V2Context:
        """As `[storage]` says. Raises AddressInvalid."""
        return cls(services, RedirectRule.of(services.config.storage))

    def challenge(self, request: HttpRequest, scopes: Sequence[str], error: str | None) -> str | None:
        """The value of WWW-Authenticate, its realm reached as this request reached the registry."""
        services = self.services
        base_url = services.config.server.public_url.rstrip("/") or request.base_url
        return services.access.challenge(base_url=base_url, scopes=scopes, error=error)

    def actor(self, request: HttpRequest) -> Actor:
        """Who does it, for audit rows and tag events."""
        return Actor(request.principal, request.address or None, request.id or None)
