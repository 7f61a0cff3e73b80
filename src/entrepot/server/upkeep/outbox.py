"""Delivers events that were written beside the changes they tell of.

Delivery is the state of each row: a row is taken under a lease, given to every consumer, and done when
all took it. So an event is delivered at least once, in any order, and one that a slow transaction commits
late isn't skipped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, or_, select, update

from entrepot.backoff import backoff_s
from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.tables import outbox

__all__ = ["Consumer", "Event", "OutboxDelivery"]

log = get_log(__name__)

BATCH: Final = 100
PASSED_OVER: Final = 1_000
"""Events marked in one transaction while nobody listens."""
LEASE_S: Final = 60.0
KEPT_S: Final = 7 * 24 * 3600.0
"""How long delivered events stay to be looked at."""
MAX_ATTEMPTS: Final = 12
FIRST_BACKOFF_S: Final = 2.0
LONGEST_BACKOFF_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `id` stays the same when it is delivered again."""

    id: int
    kind: str
    repository: str | None
    payload: Mapping[str, Any]
    at: int
    """Microseconds since 1970."""


Consumer = Callable[[Event], Awaitable[None]]
"""Takes an event or raises; called again later when any consumer raised."""


class OutboxDelivery:
    """The loop that brings events to consumers."""

    def __init__(
        self, catalog: Catalog, consumers: Sequence[Consumer], *, by: str, poll_s: float = 1.0
    ) -> None:
        self._catalog = catalog
        self._consumers = tuple(consumers)
        self._by = by
        self._poll_s = poll_s

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set."""
        while not stop.is_set():
            try:
                delivered = await self.deliver()
            except EntrepotError as error:
                log.warning("events wait for the catalog", reason=error.message)
                delivered = 0
            if not delivered:
                try:
                    await asyncio.wait_for(stop.wait(), self._poll_s)
                except TimeoutError:
                    continue

    async def deliver(self) -> int:
        """Deliver one batch of what is due; returns how many rows were taken."""
        steady = self._catalog.clock.steady()
        if not await self._catalog.read(_any_due, steady):
            return 0
        if not self._consumers:
            return await self._catalog.write(_pass_over, steady, durable=False)
        events = await self._catalog.write(_take, self._by, steady, durable=False)
        for event, attempts in events:
            error = await self._give(event)
            await self._catalog.write(
                _settle, event.id, self._by, self._catalog.clock.steady(), attempts, error, durable=False
            )
        return len(events)

    async def _give(self, event: Event) -> str | None:
        for consumer in self._consumers:
            try:
                await consumer(event)
            except Exception as error:  # noqa: BLE001 - the row remembers it, and delivery goes on
                report = log.warning if isinstance(error, EntrepotError) else log.exception
                report("event not delivered", event_id=event.id, kind=event.kind, reason=str(error))
                return str(error)
        return None


def prune(connection: Connection, *, before: int) -> int:
    """Drop events that were delivered before a time."""
    return connection.execute(delete(outbox).where(outbox.c.done_at < before)).rowcount


def _due(now: int) -> Any:
    return (
        (outbox.c.state == "new")
        & or_(outbox.c.next_at.is_(None), outbox.c.next_at <= now)
        & or_(outbox.c.leased_until.is_(None), outbox.c.leased_until < now)
    )


def _any_due(connection: Connection, now: int) -> bool:
    return connection.execute(select(outbox.c.id).where(_due(now)).limit(1)).first() is not None


def _pass_over(connection: Connection, now: int) -> int:
    """What is due is done: nobody listens. Returns how many rows."""
    due = select(outbox.c.id).where(_due(now)).order_by(outbox.c.id).limit(PASSED_OVER)
    return connection.execute(
        update(outbox)
        .where(outbox.c.id.in_(due.with_for_update(skip_locked=True)))
        .values(state="done", done_at=now, attempts=outbox.c.attempts + 1)
    ).rowcount


def _take(connection: Connection, by: str, now: int) -> list[tuple[Event, int]]:
    rows = connection.execute(
        select(outbox).where(_due(now)).order_by(outbox.c.id).limit(BATCH).with_for_update(skip_locked=True)
    ).all()
    if rows:
        connection.execute(
            update(outbox)
            .where(outbox.c.id.in_([row.id for row in rows]))
            .values(leased_by=by, leased_until=now + microseconds(LEASE_S), attempts=outbox.c.attempts + 1)
        )
    return [
        (Event(row.id, row.kind, row.repository, json.loads(row.payload), row.at), row.attempts + 1)
        for row in rows
    ]


def _settle(
    connection: Connection, event_id: int, by: str, now: int, attempts: int, error: str | None
) -> None:
    values: dict[str, Any] = {"leased_by": None, "leased_until": None}
    if error is None:
        values |= {"state": "done", "done_at": now}
    elif attempts >= MAX_ATTEMPTS:
        values |= {"state": "dead", "done_at": now}
    else:
        wait_s = backoff_s(attempts, first_s=FIRST_BACKOFF_S, longest_s=LONGEST_BACKOFF_S)
        values |= {"next_at": now + microseconds(wait_s)}
    connection.execute(
        update(outbox).where(outbox.c.id == event_id, outbox.c.leased_by == by).values(**values)
    )
