"""What admins decide while the registry runs."""

from __future__ import annotations

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory import settings as rows
from entrepot.server.access.directory.settings import RegistryWideSettings
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = ["RegistryWideSettings", "change_settings", "show_settings"]


async def show_settings(services: Services, actor: Actor) -> RegistryWideSettings:
    """Of whoever may see the registry as a whole."""

    def see(t: Transaction) -> RegistryWideSettings:
        t.require(Action.READ_SYSTEM)
        return rows.get_registry_settings(t.connection)

    return await look(services, actor, see)


async def change_settings(
    services: Services, actor: Actor, *, project_creation: str | None = None, read_only: bool | None = None
) -> RegistryWideSettings:
    """They hold from the next request on. None leaves one as it is; what is so already is not recorded.

    Raises InvalidInput.
    """

    def do(t: Transaction) -> RegistryWideSettings:
        t.require(Action.MANAGE_SYSTEM)
        present = rows.get_registry_settings(t.connection)
        if project_creation not in {None, present.project_creation}:
            rows.set_project_creation(t.connection, t.actor, str(project_creation), now=t.now)
        if read_only not in {None, present.read_only}:
            rows.set_read_only(t.connection, t.actor, bool(read_only), now=t.now)
        return rows.get_registry_settings(t.connection)

    return await change(services, actor, do)
