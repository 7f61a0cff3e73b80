"""Failed sign-ins in the audit log: who was tried, from where, with what, how often. Never a password.

An attacker decides how many there are, so they are gathered in memory and written at most once a minute, one
row for each name and address. Names that nobody here has are not written: people type a password into the
wrong field. `MOST_ROWS` a flush and `MOST_ROWS_AN_HOUR` bound what a flood can put on disk; what is beyond is
one row that only counts. A crash forgets what the last minute gathered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, select

from entrepot.errors import Unavailable
from entrepot.observability.logs import get_log
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Principal, PrincipalKind
from entrepot.server.access.sign_in import attempts
from entrepot.server.db import Catalog
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables.access import principal

__all__ = ["ACTION", "UNKNOWN", "FailedSignIns"]

log = get_log(__name__)

ACTION: Final = "sign-in-failed"
UNKNOWN: Final = "(unknown)"
"""In place of a name that is nobody's."""
OTHERS: Final = "(others)"
"""In place of an address, for what is beyond the bounds."""
EVERY_S: Final = 60.0
MOST_KEPT: Final = 1000
MOST_ROWS: Final = 100
MOST_ROWS_AN_HOUR: Final = 500
_HOUR: Final = 3600 * SECOND


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    address: str
    how: str
    source: str


@dataclass(slots=True)
class _Count:
    first: int
    last: int
    failed: int = 0
    held_back: int = 0

    def add(self, other: _Count) -> None:
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.failed += other.failed
        self.held_back += other.held_back


_Counts = dict[_Key, _Count]


class FailedSignIns:
    """One per process. `note` costs no I/O; `close` writes what is left."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._counts: _Counts = {}
        self._timer: asyncio.Task[None] | None = None
        self._written_at: float | None = None
        self._hour_began, self._rows_this_hour = 0, 0

    def note(
        self, name: str, address: str | None, how: str, *, source: str = "", held_back: bool = False
    ) -> None:
        """`how`: password, token, robot, refresh, exchange, oidc, setup. `source`: which were asked.

        `held_back`: the back-off refused it before anybody looked at the password.
        """
        now = self._catalog.clock.now()
        key = _Key(name, address or "", how, source)
        if key not in self._counts and len(self._counts) >= MOST_KEPT:
            key = _Key("", OTHERS, how, "")
        count = self._counts.setdefault(key, _Count(now, now))
        count.add(_Count(now, now, failed=not held_back, held_back=held_back))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().create_task(self._write_soon())

    async def _write_soon(self) -> None:
        """At once after a quiet minute, else when the minute is over."""
        try:
            loop = asyncio.get_running_loop()
            due = 0.0 if self._written_at is None else self._written_at + EVERY_S - loop.time()
            await asyncio.sleep(max(1.0, due))
            self._written_at = loop.time()
            await self._write()
        finally:
            self._timer = None

    async def _write(self) -> None:
        counts, self._counts = self._counts, {}
        if not counts:
            return
        now = self._catalog.clock.now()
        if now - self._hour_began >= _HOUR:
            self._hour_began, self._rows_this_hour = now, 0
        most = max(1, min(MOST_ROWS, MOST_ROWS_AN_HOUR - self._rows_this_hour))
        try:
            self._rows_this_hour += await self._catalog.write(
                _record, counts, most, now, self._catalog.clock.steady(), durable=False
            )
        except Unavailable as error:
            log.warning("failed sign-ins not recorded", count=len(counts), error=error.message)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._write()


def _record(connection: Connection, counts: _Counts, most: int, now: int, steady: int) -> int:
    """Returns how many rows that were."""
    names = {key.name for key in counts if key.name}
    query = select(principal.c.name).where(principal.c.name.in_(names))
    known = set(connection.execute(query).scalars()) if names else set()
    merged: _Counts = {}
    for key, count in counts.items():
        kept = _Key(key.name if key.name in known else "", key.address, key.how, key.source)
        merged.setdefault(kept, _Count(count.first, count.last)).add(count)
    # Known names first, then those tried most: what is left over is counted together.
    ordered = sorted(merged.items(), key=lambda item: (not item[0].name, -item[1].failed - item[1].held_back))
    rows = ordered if len(ordered) <= most else ordered[: most - 1]
    for key, count in rows:
        _write_row(connection, key, count, now)
    if rest := ordered[len(rows) :]:
        total = _Count(rest[0][1].first, rest[0][1].last)
        for _, count in rest:
            total.add(count)
        _write_row(connection, _Key("", OTHERS, "several", ""), total, now)
    attempts.sweep(connection, steady)
    return len(rows) + bool(rest)


def _write_row(connection: Connection, key: _Key, count: _Count, now: int) -> None:
    detail: dict[str, Any] = {"with": key.how}
    if key.source:
        detail["source"] = key.source
    detail |= {"failed": count.failed}
    if count.held_back:
        detail["held_back"] = count.held_back
    if count.first != count.last:
        detail |= {"first": _moment(count.first), "last": _moment(count.last)}
    by = Actor(Principal(kind=PrincipalKind.ANONYMOUS, name=key.name or UNKNOWN), key.address or None)
    record(connection, by, ACTION, now=now, detail=detail)


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
