"""Reads blobs back, those first that were not looked at for longest, and takes damaged ones out of service.

A blob whose bytes are missing or wrong answers 404 from then on, so the next push of the image brings it
again; where there is somebody to ask (see `mending`), it is brought back at once, and otherwise asked for
again in each run. Nothing is deleted here. The run ends when its budget of bytes is used up and goes on from
there the next time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from sqlalchemy import Connection, insert, select, update

from entrepot.errors import VerificationFailed
from entrepot.observability.logs import get_log
from entrepot.oci.digest import Digest, Hasher
from entrepot.server.db.engine import Catalog
from entrepot.server.db.tables import blob, outbox
from entrepot.server.jobs.affected import affected_tags
from entrepot.server.jobs.mending import Mend, find_lost, lost_blobs
from entrepot.server.storage.base import BlobStore
from entrepot.server.storage.errors import BlobMissing, InvalidKey

__all__ = ["Damage", "ScrubReport", "scrub", "take_out_of_service"]

log = get_log(__name__)

PAGE: Final = 1000
"""Blobs that are chosen together: choosing looks through the whole table."""
NOTED_TOGETHER: Final = 100
MOST_LOST: Final = 1000
"""Blobs out of service that one run asks for again."""
Fault = Literal["missing", "quarantined"]


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that was taken out of service."""

    digest: str
    phys: str
    state: Fault
    reason: str
    tags: tuple[str, ...]
    """`repository:tag` of what can't be pulled any more."""
    repaired_from: str | None = None
    """Where its bytes were found again: it is in service."""

    def to_json(self) -> dict[str, Any]:
        """For reports and events."""
        return {
            "digest": self.digest,
            "phys": self.phys,
            "state": self.state,
            "reason": self.reason,
            "tags": list(self.tags),
            "repaired_from": self.repaired_from,
        }


@dataclass(slots=True)
class ScrubReport:
    """What a run did."""

    blobs: int = 0
    bytes: int = 0
    damaged: list[Damage] = field(default_factory=list)
    """What this run found."""
    repaired: dict[str, str] = field(default_factory=dict)
    """Digest → where its bytes came from, of blobs that are in service again; found now or before."""
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
            "lost": self.lost,
        }


async def scrub(
    catalog: Catalog,
    store: BlobStore,
    *,
    budget_bytes: int | None = None,
    bytes_per_s: int | None = None,
    older_than: int | None = None,
    on_damage: Callable[[Damage], None] | None = None,
    mend: Mend | None = None,
) -> ScrubReport:
    """Check live blobs until the budget is used (None: all of them once).

    `bytes_per_s` slows it down so that pulls don't suffer. `older_than` is a steady time: blobs that were
    checked after it are left out.
    """
    report = ScrubReport()
    if mend is not None:
        await _mend_lost(catalog, mend, report)
    await _read_back(catalog, store, report, budget_bytes, _Pace(bytes_per_s), older_than, on_damage, mend)
    report.lost = len(await lost_blobs(catalog, MOST_LOST))
    return report


async def _mend_lost(catalog: Catalog, mend: Mend, report: ScrubReport) -> None:
    """Ask again for what earlier runs have not got."""
    for lost in await lost_blobs(catalog, MOST_LOST):
        origin = await mend(lost)
        if origin is not None:
            report.repaired[lost.digest] = origin


async def _read_back(
    catalog: Catalog,
    store: BlobStore,
    report: ScrubReport,
    budget_bytes: int | None,
    pace: _Pace,
    older_than: int | None,
    on_damage: Callable[[Damage], None] | None,
    mend: Mend | None,
) -> None:
    before = catalog.clock.steady() if older_than is None else older_than
    while page := await catalog.read(_oldest, before):
        checked: list[str] = []
        for digest, phys, size in page:
            if budget_bytes is not None and report.bytes >= budget_bytes:
                report.complete = False
                await catalog.write(_checked, checked, catalog.clock.steady(), durable=False)
                return
            fault = await examine(store, digest, phys, size, pace)
            report.blobs += 1
            report.bytes += size
            if fault is None:
                checked.append(digest)
                if len(checked) == NOTED_TOGETHER:
                    await catalog.write(_checked, checked, catalog.clock.steady(), durable=False)
                    checked = []
                continue
            damage = await take_out_of_service(catalog, digest, phys, *fault, mend=mend)
            if damage is not None:
                report.damaged.append(damage)
                if damage.repaired_from is not None:
                    report.repaired[digest] = damage.repaired_from
                if on_damage is not None:
                    on_damage(damage)
        await catalog.write(_checked, checked, catalog.clock.steady(), durable=False)


async def examine(
    store: BlobStore, digest: str, phys: str, size: int, pace: _Pace | None = None
) -> tuple[Fault, str] | None:
    """What is wrong with the bytes of a blob; None when they are right.

    Raises StorageFailed when it can't tell.
    """
    wanted = Digest.parse(digest)
    hasher = Hasher(wanted.algorithm)
    try:
        stored = await store.size(phys)
        if stored is None:
            return "missing", "there is no such file"
        if stored != size:
            return "quarantined", f"it has {stored} bytes instead of {size}"
        async with aclosing(await store.open(phys, 0, size)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(hasher.update, piece)
                if pace is not None:
                    await pace.spend(len(piece))
    except (BlobMissing, InvalidKey) as error:
        return "missing", error.message
    except VerificationFailed as error:
        return "quarantined", error.message
    if hasher.digest() != wanted:
        return "quarantined", f"its bytes have the digest {hasher.digest()}"
    return None


async def take_out_of_service(
    catalog: Catalog, digest: str, phys: str, state: Fault, reason: str, *, mend: Mend | None = None
) -> Damage | None:
    """Let a blob answer 404 until it is pushed again, raise the alarm, and try to bring it back with `mend`.

    None when its row has changed.
    """
    damage = await catalog.write(_take_out, digest, phys, state, reason, catalog.clock.now())
    if damage is None:
        return None
    log.error("blob damaged", **damage.to_json())
    if mend is None or (lost := await find_lost(catalog, digest)) is None:
        return damage
    return replace(damage, repaired_from=await mend(lost))


class _Pace:
    """Sleeps so that no more than so many bytes a second are read."""

    def __init__(self, bytes_per_s: int | None) -> None:
        self._rate = bytes_per_s
        self._ahead = 0

    async def spend(self, count: int) -> None:
        if self._rate is None:
            return
        self._ahead += count
        if self._ahead >= self._rate // 10:
            owed, self._ahead = self._ahead, 0
            await asyncio.sleep(owed / self._rate)


def _oldest(connection: Connection, before: int) -> list[tuple[str, str, int]]:
    """Live blobs not checked since `before`, those never checked first."""
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size)
        .where(blob.c.state == "live", (blob.c.checked_at.is_(None)) | (blob.c.checked_at < before))
        .order_by(blob.c.checked_at.is_not(None), blob.c.checked_at, blob.c.digest)
        .limit(PAGE)
    )
    return [(row.digest, row.phys, row.size) for row in rows]


def _checked(connection: Connection, digests: list[str], at: int) -> None:
    if digests:
        connection.execute(update(blob).where(blob.c.digest.in_(sorted(digests))).values(checked_at=at))


def _take_out(
    connection: Connection, digest: str, phys: str, state: Fault, reason: str, now: int
) -> Damage | None:
    done = connection.execute(
        update(blob)
        .where(blob.c.digest == digest, blob.c.phys == phys, blob.c.state == "live")
        .values(state=state)
    )
    if not done.rowcount:
        return None
    damage = Damage(digest, phys, state, reason, tuple(affected_tags(connection, digest)))
    connection.execute(
        insert(outbox).values(kind="blob-damaged", payload=json.dumps(damage.to_json()), at=now)
    )
    return damage
