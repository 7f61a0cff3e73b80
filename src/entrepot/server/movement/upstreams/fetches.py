"""Who fetches a blob just now: one row for each, which one process of all nodes holds and keeps renewing.

The row names the bytes that have landed, so that others can serve them while they grow, and so that whoever
takes over goes on where a killed process stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from entrepot.server.db.statements import HotQuery, Prepared
from entrepot.server.db.tables import blob, repo, repo_blob, upstream_fetch
from entrepot.server.repos.rows import insert_row

__all__ = ["FETCH", "LANDED", "FetchRow", "describe", "give_back", "hand_over", "renew", "take"]

_KEY = (upstream_fetch.c.project_id == bindparam("p_project")) & (
    upstream_fetch.c.digest == bindparam("p_digest")
)
_ROW = select(
    upstream_fetch.c.phys, upstream_fetch.c.size, upstream_fetch.c.holder, upstream_fetch.c.until
).where(_KEY)
_LOCK = Prepared(_ROW.with_for_update())
FETCH: Final = HotQuery(_ROW)
_NEW = Prepared(
    insert(upstream_fetch).values(
        project_id=bindparam("p_project"),
        digest=bindparam("p_digest"),
        holder=bindparam("p_holder"),
        until=bindparam("p_until"),
    )
)
_MINE = _KEY & (upstream_fetch.c.holder == bindparam("p_holder"))
_TAKE = Prepared(
    update(upstream_fetch).where(_KEY).values(holder=bindparam("p_holder"), until=bindparam("p_until"))
)
_RENEW = Prepared(update(upstream_fetch).where(_MINE).values(until=bindparam("p_until")))
_DESCRIBE = Prepared(
    update(upstream_fetch).where(_MINE).values(phys=bindparam("p_phys"), size=bindparam("p_size"))
)
_END = Prepared(delete(upstream_fetch).where(_MINE))
_HAND_OVER = Prepared(update(upstream_fetch).where(_MINE).values(holder="", until=0))
LANDED: Final = HotQuery(
    select(repo.c.name, blob.c.phys, blob.c.size)
    .join(repo_blob, repo_blob.c.repo_id == repo.c.id)
    .join(blob, blob.c.digest == repo_blob.c.digest)
    .where(
        repo.c.project_id == bindparam("p_project"),
        repo.c.deleted_at.is_(None),
        repo_blob.c.digest == bindparam("p_digest"),
        repo_blob.c.deleted_at.is_(None),
        blob.c.state == "live",
    )
    .order_by(repo.c.id)
    .limit(1)
)
"""A repository of the project that has the blob."""


@dataclass(frozen=True, slots=True)
class FetchRow:
    """As it is; `mine` when the asking process has it now."""

    phys: str
    size: int | None
    holder: str
    until: int
    mine: bool = False
    resumable: bool = False
    """Nobody writes to `phys` any more."""


def take(
    connection: Connection, project_id: int, digest: str, holder: str, dead: str | None, now: int, until: int
) -> FetchRow:
    """Become the one who fetches, or learn who is. `dead`: a holder whose process is gone for certain."""
    key = {"p_project": project_id, "p_digest": digest}
    found = _LOCK.row(connection, key)
    if found is None:
        insert_row(connection, _NEW, {**key, "p_holder": holder, "p_until": until})
        return FetchRow("", None, holder, until, mine=True)
    row = FetchRow(*found)
    if row.holder not in {"", dead} and row.until > now:
        return row
    _TAKE.run(connection, {**key, "p_holder": holder, "p_until": until})
    return FetchRow(row.phys, row.size, holder, until, mine=True, resumable=row.holder in {"", dead})


def describe(connection: Connection, project_id: int, digest: str, holder: str, phys: str, size: int) -> bool:
    """Say where the bytes land and how many there will be; False when the row is another's."""
    row = {"p_project": project_id, "p_digest": digest, "p_holder": holder, "p_phys": phys, "p_size": size}
    return _DESCRIBE.run(connection, row) == 1


def renew(connection: Connection, project_id: int, digest: str, holder: str, until: int) -> bool:
    row = {"p_project": project_id, "p_digest": digest, "p_holder": holder, "p_until": until}
    return _RENEW.run(connection, row) == 1


def give_back(connection: Connection, project_id: int, digest: str, holder: str) -> None:
    """The fetch is over, well or not."""
    _END.run(connection, {"p_project": project_id, "p_digest": digest, "p_holder": holder})


def hand_over(connection: Connection, project_id: int, digest: str, holder: str) -> None:
    """Stop in the middle; whoever comes next goes on from what has landed."""
    _HAND_OVER.run(connection, {"p_project": project_id, "p_digest": digest, "p_holder": holder})
