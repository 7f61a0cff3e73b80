"""What the handlers work with: the services, the policy and the settings, put together by the
composition root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entrepot.server.access.control import AccessControl
from entrepot.server.config.model import Config
from entrepot.server.repos.blobs import Blobs
from entrepot.server.repos.changes import Actor
from entrepot.server.repos.history import History
from entrepot.server.repos.manifests import Manifests
from entrepot.server.repos.pulls import Pulls
from entrepot.server.repos.referrers import Referrers
from entrepot.server.repos.repositories import Repositories
from entrepot.server.repos.tags import Tags
from entrepot.server.repos.uploads import Uploads
from entrepot.server.storage.base import BlobStore
from entrepot.server.v2.miss import NowhereElse, OnMiss
from entrepot.server.v2.redirect import RedirectRule

if TYPE_CHECKING:
    from entrepot.server.v2.request import Request


@dataclass(slots=True)
class V2Context:
    """One per worker."""

    config: Config
    access: AccessControl
    manifests: Manifests
    blobs: Blobs
    uploads: Uploads
    tags: Tags
    referrers: Referrers
    repositories: Repositories
    store: BlobStore
    pulls: Pulls
    history: History | None = None
    """Where tags have been; None answers `?at=` with 404."""
    on_miss: OnMiss = field(default_factory=NowhereElse)
    redirect: RedirectRule = field(default_factory=RedirectRule)

    def challenge(self, request: Request, scopes: Sequence[str], error: str | None) -> str | None:
        """The value of WWW-Authenticate, its realm reached as this request reached the registry."""
        base_url = self.config.server.public_url.rstrip("/") or request.base_url
        return self.access.challenge(base_url=base_url, scopes=scopes, error=error)

    def actor(self, request: Request) -> Actor:
        """Who does it, for audit rows and tag events."""
        principal = request.principal
        return Actor(
            principal=principal.name or principal.kind.value,
            kind=principal.kind.value,
            address=request.address or None,
            token_id=principal.token_id,
            request_id=request.id or None,
        )
