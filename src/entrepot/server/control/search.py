"""Finding repositories, tags, digests, labels, and what other registries hold."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.queries import lists
from entrepot.server.control.queries import search as queries
from entrepot.server.control.queries.search import SearchHit
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, look

__all__ = ["Results", "SearchHit", "search"]


@dataclass(frozen=True, slots=True)
class Results:
    labels: list[tuple[str, int]]
    """Each with how many repositories carry it."""
    found: list[SearchHit]
    """Best first."""


async def search(services: Services, actor: Actor, term: str, *, n: int, labels: int = 0) -> Results:
    """At most `n` of all kinds, of which at most `labels` are labels; only what the actor may see."""

    def see(t: Transaction) -> Results:
        t.require(Action.SEARCH)
        visible = t.visible
        carried = lists.find_labels(t.connection, visible, term, n=labels) if labels else []
        return Results(carried, queries.search(t.connection, visible, term, n=n - len(carried)))

    return await look(services, actor, see)
