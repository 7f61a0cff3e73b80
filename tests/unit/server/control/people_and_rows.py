"""What tests of use cases about content share: who does something, and what the catalog holds."""

import base64
from typing import Any

from sqlalchemy import Connection, select

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import ANONYMOUS, Principal, PrincipalKind
from entrepot.server.db.tables import manifest, metadata, repo, repo_blob, tag, tag_event
from tests.unit.server.api.conftest import Registry

OPERATOR = Actor(Principal(kind=PrincipalKind.OPERATOR, name="somebody (command line)"))
NOBODY = Actor(ANONYMOUS)
CONTENT = {
    *(table.name for table in (manifest, repo, repo_blob, tag, tag_event)),
    *("audit", "event", "project", "repo_label", "repo_profile", "star"),
}


async def actor(registry: Registry, name: str) -> Actor:
    """Somebody who has just signed in."""
    shown = base64.b64encode(f"{name}:{registry.secrets[name]}".encode()).decode()
    return Actor(await registry.services.access.authenticate(f"Basic {shown}"))


async def everything(registry: Registry) -> dict[str, list[Any]]:
    """All rows about content, and what was written beside their changes."""

    def read(connection: Connection) -> dict[str, list[Any]]:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in metadata.sorted_tables
            if table.name in CONTENT
        }

    found: dict[str, list[Any]] = await registry.services.catalog.read(read)
    assert set(found) == CONTENT
    return found
