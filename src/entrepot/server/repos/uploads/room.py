"""A body whose bytes have room in their project's quota before they are written (see `repos.room`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from entrepot.errors import EntrepotError
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock
from entrepot.server.db.statements import Prepared
from entrepot.server.db.tables import project, repo, upload
from entrepot.server.repos.errors import QuotaExceeded, UploadUnknown
from entrepot.server.repos.room import reserved_bytes
from entrepot.server.repos.uploads.feed import Feed
from entrepot.server.storage.driver import Chunk

__all__ = ["within_quota"]

STEP: Final = 4 * 1024 * 1024
"""How much more than has come an upload of unknown length takes at once: one small transaction for so many
bytes. Less when the project is nearly full, so that it keeps little from others.
"""
_LEFT_TO_OTHERS: Final = 8
"""Of what is left, an upload of unknown length takes one part in so many ahead."""


_TAKE = Prepared(
    update(upload)
    .where(upload.c.id == bindparam("p_id"), upload.c.claim == bindparam("p_claim"))
    .values(reserved=bindparam("p_reserved"))
)
# Locked after the upload, as the end of an upload does it.
_PROJECT = Prepared(
    select(project.c.id, project.c.name, project.c.quota_bytes, project.c.usage_bytes)
    .join(repo, repo.c.project_id == project.c.id)
    .join(upload, upload.c.repo_id == repo.c.id)
    .where(upload.c.id == bindparam("p_id"))
    .with_for_update(of=project)
)
_UNLIMITED: Final = 2**62


async def within_quota(
    catalog: Catalog, clock: Clock, feed: Feed, *, upload_id: str, claim: str, offset: int
) -> AsyncIterator[Chunk]:
    """The body, each byte of which has its room: all of it at once when the feed knows how long it is.

    When there is none left the body ends, and `feed.failure` is QuotaExceeded.
    """
    came, room = offset, offset
    async for chunk in feed:
        came += len(chunk)
        if came > room:
            least = came if feed.expected is None else max(came, offset + feed.expected)
            try:
                room = await catalog.write(
                    _take,
                    upload_id,
                    claim,
                    least,
                    STEP if feed.expected is None else 0,
                    clock.steady(),
                    durable=False,
                    brief=True,
                )
            except EntrepotError as error:
                feed.failure = error
                return
        yield chunk


def _take(connection: Connection, upload_id: str, claim: str, least: int, ahead: int, steady: int) -> int:
    """Let an upload come to `least` bytes, and up to `ahead` more; returns how many it may come to.

    Raises QuotaExceeded, UploadUnknown when the claim is lost.
    """
    row = {"p_id": upload_id, "p_claim": claim}
    if not _TAKE.run(connection, {**row, "p_reserved": least}):
        raise UploadUnknown(upload_id)
    found = _PROJECT.row(connection, row)
    if found is None:
        raise UploadUnknown(upload_id)
    project_id, name, quota, used = found
    if quota is None:
        return _UNLIMITED
    left = quota - used - reserved_bytes(connection, project_id, steady)
    if left < 0:
        raise QuotaExceeded(name, quota)
    ahead = min(ahead, left // _LEFT_TO_OTHERS)
    if ahead:
        _TAKE.run(connection, {**row, "p_reserved": least + ahead})
    return least + ahead
