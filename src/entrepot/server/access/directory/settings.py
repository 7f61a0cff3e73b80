"""Settings of access that live in the catalog, because people change them while the registry runs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from entrepot.errors import InvalidInput
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.facts import PROJECT_CREATION, READ_ONLY
from entrepot.server.access.decision.policy import ProjectCreation
from entrepot.server.db.settings import get_setting, set_setting

__all__ = ["RegistryWideSettings", "get_registry_settings", "set_project_creation", "set_read_only"]


@dataclass(frozen=True, slots=True)
class RegistryWideSettings:
    project_creation: str
    """`admins` or `signed-in`: who may create projects by pushing."""
    read_only: bool
    """Refuses every change of content."""


def get_registry_settings(connection: Connection) -> RegistryWideSettings:
    return RegistryWideSettings(
        project_creation=get_setting(connection, PROJECT_CREATION) or ProjectCreation.ADMINS.value,
        read_only=get_setting(connection, READ_ONLY) == "true",
    )


def set_project_creation(connection: Connection, by: Actor, who: str, *, now: int) -> None:
    """Raises InvalidInput."""
    if who not in {item.value for item in ProjectCreation}:
        raise InvalidInput(f"project creation {who!r} is not known", hint="it is admins or signed-in")
    old = get_registry_settings(connection).project_creation
    set_setting(connection, PROJECT_CREATION, who)
    record(
        connection,
        by,
        "change-settings",
        now=now,
        old=f"project_creation={old}",
        new=f"project_creation={who}",
    )


def set_read_only(connection: Connection, by: Actor, read_only: bool, *, now: int) -> None:
    """Holds from the next request on."""
    set_setting(connection, READ_ONLY, "true" if read_only else "false")
    record(connection, by, "change-settings", now=now, new=f"read_only={read_only}")
