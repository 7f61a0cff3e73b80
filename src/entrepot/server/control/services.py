"""Everything a use case may use: one bundle, made by the composition root, one per process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from entrepot.server.access.accounts_mode import AccountsControl
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Permit
from entrepot.server.access.decision.errors import InvalidCredentials, InvalidToken, PermitRefused
from entrepot.server.access.decision.model import Action, Resource, Ruling
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.access.decision.protocol import AccessControl
from entrepot.server.access.secrets.sealing import SealKey
from entrepot.server.config.model import Config
from entrepot.server.db import Catalog
from entrepot.server.db.copynote import CopyState
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.db.settings import ACCESS_MODE, get_setting
from entrepot.server.movement.upstreams.pull_through import PullThrough
from entrepot.server.repos.blobs import Blobs
from entrepot.server.repos.history import History
from entrepot.server.repos.limits import RepositoryLimits
from entrepot.server.repos.manifests import Manifests
from entrepot.server.repos.pulls import Pulls
from entrepot.server.repos.referrers import Referrers
from entrepot.server.repos.repositories import Repositories
from entrepot.server.repos.tags import Tags
from entrepot.server.repos.uploads import RepositoryUploads
from entrepot.server.repos.uploads.arrivals import Arrivals
from entrepot.server.storage.store import BlobStore
from entrepot.server.telemetry.metrics import Metrics

__all__ = ["Check", "Services"]

T = TypeVar("T")
Check = Callable[[], Awaitable[None]]
"""Returns when all is well; raises what is wrong."""


@dataclass(slots=True)
class Services:
    """One per process. `close` when it ends."""

    config: Config
    mode: str
    """`open` or `accounts`."""
    catalog: Catalog
    store: BlobStore
    access: AccessControl
    manifests: Manifests
    blobs: Blobs
    uploads: RepositoryUploads
    tags: Tags
    referrers: Referrers
    repositories: Repositories
    history: History
    pulls: Pulls
    under_way: Arrivals
    pull_through: PullThrough
    metrics: Metrics
    limits: RepositoryLimits
    seal_file: Path
    """Where the key is that seals secrets in the catalog."""
    copied: Callable[[], CopyState] | None = None
    """How far the catalog's copy is; None where it is not copied."""
    _seal: SealKey | None = field(default=None, repr=False)

    @property
    def accounts(self) -> AccountsControl | None:
        """None in open mode."""
        return self.access if isinstance(self.access, AccountsControl) else None

    @property
    def now(self) -> int:
        """Microseconds since 1970, as the catalog's clock has them."""
        return self.catalog.clock.now()

    @property
    def seal(self) -> SealKey:
        """Made on first use in open mode, where nothing may ever be sealed."""
        if self._seal is None:
            self._seal = self.accounts.seal if self.accounts else SealKey.load_or_create(self.seal_file)
        return self._seal

    @property
    def checks(self) -> Mapping[str, Check]:
        """What `/readyz` asks, by the part it is about."""

        async def catalog() -> None:
            if self.catalog.broken:
                raise CatalogUnavailable(self.catalog.broken)
            await self.catalog.read(get_setting, ACCESS_MODE)

        return {"catalog": catalog, "store": self.store.check}

    async def require(self, actor: Actor, action: Action, resource: Resource) -> None:
        """Raises InvalidCredentials (sign in), InvalidToken or AccessDenied."""
        if self.accounts is None:
            return
        decision = await self.accounts.decide_on(actor.principal, action, resource)
        if decision.allowed:
            return
        if decision.answer is Ruling.CHALLENGE:
            raise (InvalidToken if decision.challenge_error else InvalidCredentials)(decision.reason)
        raise PermitRefused(decision.reason, rule=decision.rule)

    async def may(self, actor: Actor, action: Action, resource: Resource) -> bool:
        """The same question, for what a page or answer shows."""
        if self.accounts is None:
            return True
        return (await self.accounts.decide_on(actor.principal, action, resource)).allowed

    async def visible(self, actor: Actor) -> Visible:
        return await self.access.visible(actor.principal)

    def permit(self, actor: Actor) -> Permit:
        return self.access.permit_for(actor.principal)

    async def close(self) -> None:
        """Finish what is queued and give everything back."""
        await self.pull_through.close()
        if self.accounts is not None:
            await self.accounts.close()
        await self.catalog.close()
        await self.store.close()
