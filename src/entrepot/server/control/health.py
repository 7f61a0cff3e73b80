"""Is everything well: what the registry needs, its nodes, its background work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from entrepot.errors import Conflict, EntrepotError, NotFound
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory.settings import get_registry_settings
from entrepot.server.control.services import Check, Services
from entrepot.server.control.transaction import Transaction, change, look
from entrepot.server.upkeep.copylag import copy_problem
from entrepot.server.upkeep.figures import ClusterState, read_state
from entrepot.server.upkeep.nodes import ClusterNode
from entrepot.server.upkeep.nodes import forget_node as forget
from entrepot.server.upkeep.nodes import list_nodes as read_nodes

__all__ = ["ClusterNode", "Health", "Part", "forget_node", "list_nodes", "show_health"]

CHECK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that `/readyz` asks."""

    name: str
    problem: str
    """Empty: it is well."""


@dataclass(frozen=True, slots=True)
class Health:
    """The parts, and what the catalog says about the whole registry."""

    parts: list[Part]
    state: ClusterState
    is_read_only: bool
    """An admin has refused all changes."""


async def show_health(services: Services, actor: Actor) -> Health:
    """Waits a few seconds at most for a part that does not answer."""

    def see(t: Transaction) -> tuple[ClusterState, bool]:
        t.require(Action.READ_SYSTEM)
        refuses = t.access.mode != "open" and get_registry_settings(t.connection).read_only
        return read_state(t.connection, t.steady), refuses

    state, is_read_only = await look(services, actor, see)
    parts = await asyncio.gather(*(_ask(name, check) for name, check in sorted(services.checks.items())))
    damage = services.catalog.read_only
    if damage is not None:
        parts.append(Part("damage", f"nothing can be changed until the catalog is restored: {damage}"))
    if services.copied is not None:
        parts.append(Part("copy of the catalog", copy_problem(await asyncio.to_thread(services.copied))))
    return Health(parts, state, is_read_only)


async def list_nodes(services: Services, actor: Actor) -> list[ClusterNode]:
    """All that were heard of within a day, by role and name."""

    def see(t: Transaction) -> list[ClusterNode]:
        t.require(Action.READ_SYSTEM)
        return read_nodes(t.connection, t.steady)

    return await look(services, actor, see)


async def forget_node(services: Services, actor: Actor, node_id: str) -> None:
    """Take a silent node off the list. Raises NotFound, and Conflict for one that is alive."""

    def do(t: Transaction) -> ClusterNode | None:
        t.require(Action.MANAGE_SYSTEM)
        return forget(t.connection, node_id, t.steady)

    found = await change(services, actor, do)
    if found is None:
        raise NotFound(f"no node is called {node_id}", hint="see their names with: entrepot admin nodes")
    if found.state != "silent":
        raise Conflict(
            f"node {node_id} is alive, it was heard of {found.silent_s:.0f} s ago",
            hint="stop it; one that stops is no longer listed",
        )


async def _ask(name: str, check: Check) -> Part:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except EntrepotError as error:
        return Part(name, error.message)
    except TimeoutError:
        return Part(name, f"no answer within {CHECK_S:.0f} seconds")
    except OSError as error:
        return Part(name, error.strerror or type(error).__name__)
    return Part(name, "")
