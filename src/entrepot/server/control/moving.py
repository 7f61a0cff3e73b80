"""Moving in from another registry, and out to one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from entrepot.errors import InvalidInput
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action, Principal, PrincipalKind
from entrepot.server.backup.places import open_place
from entrepot.server.config.model import Config
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import require
from entrepot.server.movement.importers.carry import Carried, Carrier
from entrepot.server.movement.importers.compare import Compared, compare
from entrepot.server.movement.importers.distribution_tree import DistributionTree, find_root
from entrepot.server.movement.importers.files import open_files
from entrepot.server.movement.importers.origin import ImportOrigin, Left
from entrepot.server.movement.importers.registry_api import RegistryOrigin, open_registry
from entrepot.server.movement.registry_tree import TreeWritten, write_tree

__all__ = [
    "Carried",
    "Compared",
    "Left",
    "Place",
    "RegistryAddress",
    "RegistryStorage",
    "TreeWritten",
    "bring",
    "check",
    "write_out",
]

Say = Callable[[str], None]
"""Told of progress, a line each."""
IMPORTER: Final = Actor(Principal(kind=PrincipalKind.SYSTEM, name="import"))
"""Who pushed what came, in history and audit log: a later run may move its own tags, nobody else's."""


@dataclass(frozen=True, slots=True)
class RegistryStorage:
    """The storage of a Docker Registry."""

    where: str
    """A folder, or `s3://bucket/prefix`, reached as `[storage]` says."""
    is_retired: bool = False
    """Nobody writes there ever again, so files may be shared."""


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """A registry that is asked over its API, as who runs the command is signed in there."""

    url: str
    """`https://host[:port]`, `http://…`, or the host alone."""
    names: tuple[str, ...] = ()
    """Repositories, where the registry does not list them."""

    @property
    def where(self) -> str:
        return self.url


Place = RegistryStorage | RegistryAddress


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
    async with _opened(services.config, place, only_looks=plan) as origin:
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
    async with _opened(services.config, place, only_looks=True) as origin:
        return await compare(services.catalog, services.store, origin, projects, say=say)


async def write_out(
    services: Services, actor: Actor, *, where: str, repositories: str = "*", say: Say = lambda _: None
) -> TreeWritten:
    """The repositories that fit the pattern as a tree that Docker Registry serves, in a folder or bucket.

    A later run adds what is new, and moves tags. Raises InvalidInput, PlaceFailed.
    """
    await require(services, actor, Action.MANAGE_SYSTEM)
    if where.endswith(".tar"):
        raise InvalidInput(f"{where} is no folder", hint="write a folder or s3://bucket/prefix")
    place = open_place(where, create=True, **_reach(services.config))
    try:
        return await write_tree(services.catalog, services.store, place, pattern=repositories, say=say)
    finally:
        await place.close()


@asynccontextmanager
async def _opened(config: Config, place: Place, *, only_looks: bool) -> AsyncIterator[ImportOrigin]:
    origin: ImportOrigin
    if isinstance(place, RegistryStorage):
        files = open_files(place.where, **_reach(config))
        origin = DistributionTree(files, await find_root(files, place.where), may_link=place.is_retired)
    else:
        registry = open_registry(place.url)
        origin = RegistryOrigin(registry, place.names, ask_for_blobs=only_looks)
    try:
        yield origin
    finally:
        await origin.close()


def _note(connection: Connection, actor: Actor, where: str, now: int) -> None:
    record(connection, actor, "import", now=now, detail={"from": where})


def _reach(config: Config) -> dict[str, Any]:
    """How a bucket is reached."""
    storage = config.storage
    return {
        "endpoint": storage.endpoint,
        "region": storage.region,
        "access_key_id": storage.access_key_id,
        "secret_access_key": str(storage.secret_access_key),
        "allow_http": storage.allow_http,
    }
