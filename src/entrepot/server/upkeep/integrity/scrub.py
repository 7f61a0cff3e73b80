"""Reads blobs back, one after the other in rounds, and takes damaged ones out of service.

A round goes through all blobs in the order of their digests, so that what comes next is found in the primary
key however many there are, and is what was read longest ago but for what was pushed since, which was hashed
then. A run ends when its budget of bytes is used up; the catalog remembers how far the round is.

A blob whose bytes are missing or wrong answers 404 from then on, so the next push of the image brings it
again; where there is somebody to ask (see `lost_blobs`), it is brought back at once, and otherwise asked for
again in each run. Nothing is deleted here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, select, update

from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.settings import SCRUB_ROUND, get_setting, set_setting
from entrepot.server.db.tables import blob
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.integrity.faults import Fault, find_fault
from entrepot.server.upkeep.integrity.lost_blobs import Damage, Mend, lost_blobs, take_out_of_service
from entrepot.server.upkeep.integrity.read_rate import ByteRate
from entrepot.server.upkeep.integrity.reconcile import is_pair
from entrepot.server.upkeep.integrity.sure_store import ensure_it_stores

__all__ = ["Damage", "ScrubReport", "scrub"]

log = get_log(__name__)

PAGE: Final = 1000
"""Rows that are looked at together."""
NOTED_TOGETHER: Final = 100
ALL_DONE: Final = "~"
"""Sorts behind every digest."""
MOST_UNREAD: Final = 20
"""So many objects that don't come are no longer theirs alone: the store does not answer."""
MOST_LOST: Final = 1000
"""Blobs out of service that one run asks for again."""


@dataclass(slots=True)
class ScrubReport:
    """What a run did."""

    blobs: int = 0
    bytes: int = 0
    damaged: list[Damage] = field(default_factory=list)
    """What this run found."""
    repaired: dict[str, str] = field(default_factory=dict)
    """Digest → where its bytes came from, of blobs that are in service again; found now or before."""
    unread: dict[str, str] = field(default_factory=dict)
    """Digest → why the store did not give its bytes this time. Such a blob stays in service."""
    lost: int = 0
    """Blobs that are still out of service although manifests need them."""
    complete: bool = True
    """False when the budget ended before every blob had its turn."""

    def to_json(self) -> dict[str, Any]:
        """As a job's result and `--json` have it."""
        return {
            "blobs": self.blobs,
            "bytes": self.bytes,
            "complete": self.complete,
            "damaged": [damage.to_json() for damage in self.damaged],
            "repaired": self.repaired,
            "unread": self.unread,
            "lost": self.lost,
        }


async def scrub(
    catalog: Catalog,
    store: BlobStore,
    *,
    budget_bytes: int | None = None,
    bytes_per_s: int | None = None,
    again_after_s: float = 0.0,
    on_damage: Callable[[Damage], None] | None = None,
    mend: Mend | None = None,
) -> ScrubReport:
    """Check live blobs until the budget is used; the next run goes on from there. Without a budget (None):
    all of them, in a round of its own.

    `bytes_per_s` slows it down so that pulls don't suffer. When a round is done, the next one begins
    `again_after_s` after that one did.
    """
    report, rate = ScrubReport(), ByteRate(bytes_per_s)
    if mend is not None:
        mend = partial(mend, rate=rate)
        await _mend_lost(catalog, mend, report)
    turn = await catalog.read(
        _next_turn, catalog.clock.steady(), microseconds(again_after_s), budget_bytes is None
    )
    if turn is not None:
        await _read_back(catalog, store, report, turn, budget_bytes, rate, on_damage, mend)
    report.lost = len(await lost_blobs(catalog, MOST_LOST))
    return report


async def _mend_lost(catalog: Catalog, mend: Mend, report: ScrubReport) -> None:
    """Ask again for what earlier runs have not got."""
    for lost in await lost_blobs(catalog, MOST_LOST):
        origin = await mend(lost)
        if origin is not None:
            report.repaired[lost.digest] = origin


@dataclass(frozen=True, slots=True)
class _Turn:
    """How far a round is."""

    begun: int
    """Steady time."""
    after: str
    """The last digest that had its turn; `ALL_DONE` behind the last of all."""

    @classmethod
    def parse(cls, text: str) -> _Turn:
        begun, _, after = text.partition(" ")
        return cls(int(begun), after)

    def __str__(self) -> str:
        return f"{self.begun} {self.after}"


async def _read_back(
    catalog: Catalog,
    store: BlobStore,
    report: ScrubReport,
    turn: _Turn,
    budget_bytes: int | None,
    rate: ByteRate,
    on_damage: Callable[[Damage], None] | None,
    mend: Mend | None,
) -> None:
    checked: list[str] = []

    async def note(after: str) -> None:
        turn_now = _Turn(turn.begun, after)
        await catalog.write(_note, checked, catalog.clock.steady(), turn_now, durable=False)
        checked.clear()

    after = turn.after
    while page := await catalog.read(_page, after):
        for row in page:
            if row.state != "live" or (row.checked_at is not None and row.checked_at >= turn.begun):
                after = row.digest
                continue
            if budget_bytes is not None and report.bytes >= budget_bytes:
                report.complete = False
                await note(after)
                return
            after = row.digest
            report.blobs += 1
            report.bytes += row.size
            fault = await _fault(catalog, store, row, rate, report)
            if row.digest in report.unread:
                continue
            if fault is None:
                checked.append(row.digest)
                if len(checked) == NOTED_TOGETHER:
                    await note(after)
                continue
            damage = await take_out_of_service(catalog, row.digest, row.phys, fault, mend=mend)
            if damage is not None:
                report.damaged.append(damage)
                if damage.repaired_from is not None:
                    report.repaired[row.digest] = damage.repaired_from
                if on_damage is not None:
                    on_damage(damage)
    await note(ALL_DONE)


async def _fault(
    catalog: Catalog, store: BlobStore, row: Any, rate: ByteRate, report: ScrubReport
) -> Fault | None:
    """Notes as unread what does not come while the store works otherwise, else raises StorageFailed."""
    try:
        return await find_fault(store, row.digest, row.phys, row.size, rate=rate)
    except StorageFailed as error:
        if len(report.unread) == MOST_UNREAD or not await is_pair(catalog, store):
            raise
        await ensure_it_stores(store)
        report.unread[row.digest] = error.message
        log.warning("blob not read", digest=row.digest, reason=error.message)
        return None


def _next_turn(connection: Connection, now: int, again_after: int, anew: bool) -> _Turn | None:
    """Where to go on; None while it is too early for another round."""
    known = None if anew else get_setting(connection, SCRUB_ROUND)
    if known is None:
        return _Turn(now, "")
    turn = _Turn.parse(known)
    if turn.after != ALL_DONE:
        return turn
    return None if now - again_after < turn.begun <= now else _Turn(now, "")


def _page(connection: Connection, after: str) -> Sequence[Any]:
    return connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size, blob.c.state, blob.c.checked_at)
        .where(blob.c.digest > after)
        .order_by(blob.c.digest)
        .limit(PAGE)
    ).all()


def _note(connection: Connection, digests: list[str], at: int, turn: _Turn) -> None:
    if digests:
        connection.execute(update(blob).where(blob.c.digest.in_(sorted(digests))).values(checked_at=at))
    set_setting(connection, SCRUB_ROUND, str(turn))
