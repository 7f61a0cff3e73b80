"""The audit log as people read it: newest first, filtered."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, or_, select

from entrepot.server.db.tables import audit

__all__ = ["list_audit"]


def list_audit(
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
    """Rows with a number below `before`, newest first."""
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
