"""The registry of the API's tests, asked without HTTP: what holds here holds for every face."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import PermitRefused
from entrepot.server.access.decision.model import ANONYMOUS, Principal, PrincipalKind
from entrepot.server.access.directory.accounts import get_account
from entrepot.server.control.services import Services
from entrepot.server.db.tables import audit
from tests.unit.server.api.conftest import Registry, registry, team

__all__ = ["NOBODY", "OPERATOR", "actor", "audit_rows", "refused", "registry", "team"]

NOBODY = Actor(ANONYMOUS)
OPERATOR = Actor(Principal(kind=PrincipalKind.OPERATOR, name="op (command line)"))
UseCase = Callable[[Services, Actor], Awaitable[Any]]


async def actor(registry: Registry, name: str, *, credential: str = "password") -> Actor:
    """Somebody the registry knows."""
    found = await registry.services.catalog.read(get_account, name)
    who = Principal(
        kind=PrincipalKind(found.kind),
        name=found.name,
        id=found.id,
        epoch=found.epoch,
        credential=credential,
    )
    return Actor(who, "10.0.0.7")


async def audit_rows(registry: Registry) -> int:
    """How much was changed, as far as the log knows."""
    count = select(func.count()).select_from(audit)
    return int(await registry.services.catalog.read(lambda c: c.execute(count).scalar_one()))


async def refused(registry: Registry, use: UseCase, *names: str) -> None:
    """Nobody of these may, and nothing is left behind."""
    before = await audit_rows(registry)
    for name in names:
        who = await actor(registry, name)
        with pytest.raises(PermitRefused):
            await use(registry.services, who)
    assert await audit_rows(registry) == before
