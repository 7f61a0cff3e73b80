"""The audit log as people read it: newest first, filtered."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, or_, select

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory.projects import get_project
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, look
from entrepot.server.db.tables import audit

__all__ = ["list_audit", "list_audit_of_project"]


async def list_audit(
    services: Services,
    actor: Actor,
    *,
    before: int | None = None,
    n: int = 100,
    principal: str | None = None,
    action: str | None = None,
    repository: str | None = None,
    project: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[Any]:
    """Of the whole registry: rows with a number below `before`, newest first."""

    def see(t: Transaction) -> list[Any]:
        t.require(Action.READ_SYSTEM)
        return _rows(
            t.connection,
            before=before,
            n=n,
            principal=principal,
            action=action,
            repository=repository,
            project=project,
            since=since,
            until=until,
        )

    return await look(services, actor, see)


async def list_audit_of_project(
    services: Services,
    actor: Actor,
    project: str,
    *,
    before: int | None = None,
    n: int = 100,
    principal: str | None = None,
    action: str | None = None,
) -> list[Any]:
    """Since it was made: another project may have had the name before. Raises Unknown."""

    def see(t: Transaction) -> list[Any]:
        t.require(Action.READ_AUDIT, project=project)
        return _rows(
            t.connection,
            project=project,
            since=get_project(t.connection, project).created_at,
            before=before,
            n=n,
            principal=principal,
            action=action,
        )

    return await look(services, actor, see)


def _rows(
    connection: Connection,
    *,
    before: int | None = None,
    n: int = 100,
    principal: str | None = None,
    action: str | None = None,
    repository: str | None = None,
    project: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[Any]:
    query = select(audit).order_by(audit.c.seq.desc()).limit(n)
    if before is not None:
        query = query.where(audit.c.seq < before)
    for column, value in (("principal", principal), ("action", action), ("repository", repository)):
        if value is not None:
            query = query.where(audit.c[column] == value)
    if project is not None:
        inside = audit.c.repository.startswith(project + "/", autoescape=True)
        query = query.where(or_(audit.c.repository == project, inside))
    if since is not None:
        query = query.where(audit.c.at >= since)
    if until is not None:
        query = query.where(audit.c.at < until)
    return list(connection.execute(query).all())
