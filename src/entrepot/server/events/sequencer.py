"""Numbers events after their commit, without gaps.

The row of the head is the lock: one sequencer at a time sees all that was committed before, so that no number
is given twice and none is skipped, however many processes do it. Two changes of one tag are numbered in their
order: the second waits for the first one's row lock before it writes its event.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.tables import event, event_head
from entrepot.server.repos.rows import insert_new

__all__ = ["Sequencer", "number_new", "prune"]

log = get_log(__name__)

BATCH: Final = 500
POLL_S: Final = 0.1
AWAY_S: Final = 1.0
"""Wait after a failure."""
_HEAD: Final = select(event_head.c.newest).with_for_update()
_NEW: Final = select(event.c.id).where(event.c.number.is_(None)).order_by(event.c.id).limit(BATCH)
_ANY: Final = _NEW.limit(1)
_NUMBER: Final = update(event).where(event.c.id == bindparam("p_id")).values(number=bindparam("p_number"))


class Sequencer:
    """The loop that numbers events, in each process that runs jobs."""

    def __init__(self, catalog: Catalog, *, poll_s: float = POLL_S) -> None:
        self._catalog = catalog
        self._poll_s = poll_s

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. No failure ends it: nobody would notice, and the feed would stand still."""
        while not stop.is_set():
            wait_s = self._poll_s
            try:
                if await self.number():
                    continue
            except EntrepotError as error:
                log.warning("events wait for the catalog", reason=error.message)
                wait_s = AWAY_S
            except Exception:
                log.exception("events can't be numbered")
                wait_s = AWAY_S
            try:
                await asyncio.wait_for(stop.wait(), wait_s)
            except TimeoutError:
                continue

    async def number(self) -> int:
        """Number one batch; returns how many."""
        if self._catalog.read_only is not None or not await self._catalog.read(_has_new):
            return 0
        # A power cut may take the numbers again. SQLite's ids are in the order of commits, so the same events
        # get the same numbers; PostgreSQL's are not, so there they are kept before they are seen for long.
        return await self._catalog.write(number_new, durable=self._catalog.dialect == "postgresql")


def _has_new(connection: Connection) -> bool:
    return connection.execute(_ANY).first() is not None


def number_new(connection: Connection) -> int:
    """Give the next numbers to committed events; returns how many."""
    newest = connection.execute(_HEAD).scalar_one_or_none()
    if newest is None:
        newest = 0
        insert_new(connection, insert(event_head), {"one": 1, "newest": 0, "oldest": 1})
    ids = list(connection.execute(_NEW).scalars())
    if ids:
        connection.execute(_NUMBER, [{"p_id": id_, "p_number": newest + n} for n, id_ in enumerate(ids, 1)])
        connection.execute(update(event_head).values(newest=newest + len(ids)))
    return len(ids)


def prune(connection: Connection, before: int) -> int:
    """Forget the events at the beginning of the feed that are older than a time; returns how many."""
    head = connection.execute(
        select(event_head.c.newest, event_head.c.oldest).with_for_update()
    ).one_or_none()
    if head is None:
        return 0
    kept = select(func.min(event.c.number)).where(event.c.number >= head.oldest, event.c.at >= before)
    oldest = connection.execute(kept).scalar_one_or_none() or head.newest + 1
    if oldest <= head.oldest:
        return 0
    connection.execute(update(event_head).values(oldest=oldest))
    return connection.execute(delete(event).where(event.c.number < oldest)).rowcount
