"""How much is stored. Small catalogs are counted when somebody asks; large ones by each collection."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, literal_column, select

from entrepot.server.db.settings import STORED, get_setting, set_setting
from entrepot.server.db.tables import blob

__all__ = ["Stored", "count_stored", "note_stored", "out_of_service", "stored"]

COUNTED_AT_ONCE: Final = 20_000
"""Blobs that may be counted while somebody waits: a hundredth of a second."""
_LIVE: Final = blob.c.state == literal_column("'live'")


@dataclass(frozen=True, slots=True)
class Stored:
    """Live blobs."""

    blobs: int
    size: int
    """Bytes."""
    as_of: int | None = None
    """When they were counted, microseconds since 1970; None: now."""


def stored(connection: Connection) -> Stored:
    """What there is; with very many blobs, what the last collection counted."""
    found = _count(connection, COUNTED_AT_ONCE + 1)
    if found.blobs <= COUNTED_AT_ONCE:
        return found
    noted = get_setting(connection, STORED)
    if noted is None:
        return _count(connection, None)
    known = json.loads(noted)
    return Stored(int(known["blobs"]), int(known["bytes"]), int(known["at"]))


def note_stored(connection: Connection, found: Stored, now: int) -> None:
    """Remember what `count_stored` found."""
    set_setting(connection, STORED, json.dumps({"blobs": found.blobs, "bytes": found.size, "at": now}))


def count_stored(connection: Connection) -> Stored:
    """Count all. A second for some million blobs."""
    return _count(connection, None)


def out_of_service(connection: Connection) -> list[tuple[str, int]]:
    """State (missing, quarantined) and how many blobs have it."""
    rows = connection.execute(
        select(blob.c.state, func.count())
        .where(blob.c.state != literal_column("'live'"))
        .group_by(blob.c.state)
        .order_by(blob.c.state)
    )
    return [(state, number) for state, number in rows]


def _count(connection: Connection, limit: int | None) -> Stored:
    live = select(blob.c.size).where(_LIVE).limit(limit).subquery()
    count, size = connection.execute(
        select(func.count(), func.coalesce(func.sum(live.c.size), 0)).select_from(live)
    ).one()
    return Stored(count, int(size))
