"""Deleting repositories, and what can be taken back of all that was deleted or overwritten."""

from __future__ import annotations

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.queries import tombstones
from entrepot.server.control.queries.tombstones import Undoable
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = ["Undoable", "delete_repository", "list_undoable", "restore_repository"]


async def list_undoable(
    services: Services, actor: Actor, *, repository: str | None = None, n: int = 100
) -> list[Undoable]:
    """Newest first; only of what the actor may see."""

    def see(t: Transaction) -> list[Undoable]:
        t.require(Action.MANAGE_SELF)
        return tombstones.list_undoable(
            t.connection, visible=t.visible, repository=repository, n=n, kept_since=t.kept_since
        )

    return await look(services, actor, see)


async def delete_repository(services: Services, actor: Actor, name: str) -> None:
    """With its tags and manifests; it can be restored until the undo window ends. Raises NotFound, Denied."""

    def do(t: Transaction) -> None:
        tombstones.delete_repository(t.connection, name, t.actor, t.permit, t.now, t.steady)

    await change(services, actor, do)


async def restore_repository(services: Services, actor: Actor, name: str) -> None:
    """The one of that name deleted last. Raises NotFound, Denied, Conflict when the name is in use
    again or the undo window is over.
    """

    def do(t: Transaction) -> None:
        tombstones.restore_repository(t.connection, name, t.actor, t.permit, t.now, t.kept_since)

    await change(services, actor, do)
