"""Deleting content, and taking back what was deleted or overwritten."""

from __future__ import annotations

from entrepot.server.access.decision.actor import Actor
from entrepot.server.control import tombstones
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change

__all__ = ["delete_repository", "restore_repository"]


async def delete_repository(services: Services, actor: Actor, name: str) -> None:
    """With its tags and manifests; it can be restored until the undo window ends. Raises NotFound, Denied."""

    def do(t: Transaction) -> None:
        tombstones.delete_repository(t.connection, name, t.actor, t.permit, t.now, t.steady)

    await change(services, actor, do)


async def restore_repository(services: Services, actor: Actor, name: str) -> None:
    """The one of that name deleted last. Raises NotFound, Conflict (the name is in use again), Denied."""

    def do(t: Transaction) -> None:
        tombstones.restore_repository(t.connection, name, t.actor, t.permit, t.now)

    await change(services, actor, do)
