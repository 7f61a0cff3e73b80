"""Moving in from another registry, and what is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action, Principal, PrincipalKind
from entrepot.server.config.model import Config
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import require
from entrepot.server.movement.importers.carry import Carried, Carrier
from entrepot.server.movement.importers.compare import Compared, compare
from entrepot.server.movement.importers.distribution_tree import DistributionTree, find_root
from entrepot.server.movement.importers.files import open_files
from entrepot.server.movement.importers.origin import Left, Origin

__all__ = ["Carried", "Compared", "Left", "Place", "bring", "check"]

Say = Callable[[str], None]
"""Told of progress, a line each."""
IMPORTER: Final = Actor(Principal(kind=PrincipalKind.SYSTEM, name="import"))
"""Who pushed what came, in history and audit log: a later run may move its own tags, nobody else's."""


@dataclass(frozen=True, slots=True)
class Place:
    """The storage of a Docker Registry."""

    where: str
    """A folder, or `s3://bucket/prefix`, reached as `[storage]` says."""
    is_retired: bool = False
    """Nobody writes there ever again, so files may be shared."""


async def bring(
    services: Services,
    actor: Actor,
    place: Place,
    *,
    projects: Sequence[str] = (),
    plan: bool = False,
    say: Say = lambda _: None,
) -> Carried:
    """Bring everything in that is at `place`, or only say what would come. Pushes and pulls go on.

    Interrupted, it has brought what it has brought, and goes on when it is called again. Raises NotFound,
    InvalidInput, StorageFailed.
    """
    await require(services, actor, Action.MANAGE_SYSTEM)
    async with _opened(services.config, place) as origin:
        carrier = Carrier(
            services.catalog, services.store, services.limits, origin, IMPORTER, plan=plan, say=say
        )
        if not plan:
            await services.catalog.write(_note, actor, place.where, services.now)
        return await carrier.run(projects)


async def check(
    services: Services, actor: Actor, place: Place, *, projects: Sequence[str] = (), say: Say = lambda _: None
) -> Compared:
    """Compare what is at `place` with what is here, byte by byte. Raises NotFound, InvalidInput."""
    await require(services, actor, Action.MANAGE_SYSTEM)
    async with _opened(services.config, place) as origin:
        return await compare(services.catalog, services.store, origin, projects, say=say)


@asynccontextmanager
async def _opened(config: Config, place: Place) -> AsyncIterator[Origin]:
    storage = config.storage
    files = open_files(
        place.where,
        endpoint=storage.endpoint,
        region=storage.region,
        access_key_id=storage.access_key_id,
        secret_access_key=str(storage.secret_access_key),
        allow_http=storage.allow_http,
    )
    origin = DistributionTree(files, await find_root(files, place.where), may_link=place.is_retired)
    try:
        yield origin
    finally:
        await origin.close()


def _note(connection: Connection, actor: Actor, where: str, now: int) -> None:
    record(connection, actor, "import", now=now, detail={"from": where})
