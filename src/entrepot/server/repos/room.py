"""Room in a project for the bytes of uploads: its quota holds while they come, not only in the end.

A request takes room on the row of its upload (`upload.reserved`) before the bytes are written; what is there
already counts by itself (`upload.offset`). Nothing is added up elsewhere: when the row goes, whatever made it
go, so does what it held, and a request that died holds no more than its bytes once its claim has run out.

A project without a quota is asked once a request whether it has one, and writes nothing.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, case, func, select

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.statements import HotQuery, Prepared
from entrepot.server.db.tables import project, repo, upload

__all__ = ["has_quota", "reserved_bytes", "room_left"]

_QUOTA = HotQuery(
    select(project.c.quota_bytes).where(project.c.name == bindparam("name"), project.c.deleted_at.is_(None))
)
_held = case(
    (
        (upload.c.claimed_until > bindparam("p_steady")) & (upload.c.reserved > upload.c.offset),
        upload.c.reserved,
    ),
    else_=upload.c.offset,
)
_RESERVED = Prepared(
    select(func.coalesce(func.sum(_held), 0))
    .join(repo, repo.c.id == upload.c.repo_id)
    .where(repo.c.project_id == bindparam("p_project"), repo.c.deleted_at.is_(None))
)


_LEFT = HotQuery(
    select(project.c.quota_bytes - project.c.usage_bytes).where(
        project.c.name == bindparam("name"),
        project.c.quota_bytes.is_not(None),
        project.c.deleted_at.is_(None),
    )
)


async def room_left(catalog: Catalog, repository: str) -> int | None:
    """Bytes that the quota of the repository's project leaves, uploads under way not counted; None when it
    has no quota.
    """
    rows = await catalog.hot(_LEFT, name=repository.partition("/")[0])
    return int(rows[0][0]) if rows else None


async def has_quota(catalog: Catalog, repository: str) -> bool:
    """Whether the repository's project has a quota."""
    rows = await catalog.hot(_QUOTA, name=repository.partition("/")[0])
    return bool(rows) and rows[0][0] is not None


def reserved_bytes(connection: Connection, project_id: int, steady: int) -> int:
    """What uploads hold in a project whose row the transaction has locked."""
    return int(_RESERVED.value(connection, {"p_project": project_id, "p_steady": steady}))
