"""Teams: named groups that hold grants."""

from __future__ import annotations

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory import teams as rows
from entrepot.server.access.directory.teams import Team
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, look

__all__ = ["Team", "list_teams_to_add"]


async def list_teams_to_add(services: Services, actor: Actor, *, project: str, n: int) -> list[Team]:
    """Those that a project's members may be chosen from; for whoever manages them."""

    def see(t: Transaction) -> list[Team]:
        t.require(Action.MANAGE_MEMBERS, project=project)
        return rows.list_teams(t.connection, n=n)

    return await look(services, actor, see)
