"""Compares store and catalog in the background and reports objects that no row knows of.

A crash between storing bytes and committing their row leaves such an orphan; so does a catalog that isn't
this store's. The second must not empty the store, so orphans are only reported, and go to the trash by
themselves only when all of this holds: catalog and store carry the same id and epoch, the orphan is older
than the undo window, as long has passed since a restored catalog was first looked at (what was pushed after
the backup has no row any more, and may still be wanted), and this run found fewer than 1 % of all objects to
be orphans. More needs `entrepot admin fsck --repair`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import SECOND, microseconds
from entrepot.server.db.settings import RESTORED_SEEN, get_identity, get_setting, set_setting
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.integrity.orphans import PAGE, Stray, Tally, find_strays, throw_away_strays

__all__ = ["ReconcileReport", "is_pair", "reconcile"]

log = get_log(__name__)

MOST_SHARE: Final = 0.01
"""Of all objects; more orphans than that look like the wrong catalog."""
REMEMBERED: Final = 100_000
"""Orphans held in memory; there can't be more that a run would take."""


@dataclass(slots=True)
class ReconcileReport:
    """What a run found."""

    objects: int = 0
    orphans: int = 0
    """Objects without a row that are older than the undo window."""
    orphan_bytes: int = 0
    young: int = 0
    """Objects without a row that may still get one."""
    trashed: int = 0
    kept_because: str | None = None
    """Why orphans were only reported."""
    examples: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As a job's result has it."""
        return {
            "objects": self.objects,
            "orphans": self.orphans,
            "orphan_bytes": self.orphan_bytes,
            "young": self.young,
            "trashed": self.trashed,
            "kept_because": self.kept_because,
            "examples": self.examples,
        }


async def reconcile(
    catalog: Catalog, store: BlobStore, *, undo_window_s: float, trash_delay_s: float
) -> ReconcileReport:
    """Look once."""
    report, tally, old = ReconcileReport(), Tally(), list[Stray]()
    async for stray in find_strays(catalog, store, tally):
        if stray.age_s <= undo_window_s:
            report.young += 1
            continue
        report.orphans += 1
        report.orphan_bytes += stray.size
        if len(old) < REMEMBERED:
            old.append(stray)
    report.objects = tally.objects
    report.examples = [stray.phys for stray in old[:10]]
    if not old:
        return report
    since = await catalog.write(_restored_at, catalog.clock.steady())
    restored_s = None if since is None else (catalog.clock.steady() - since) / SECOND
    pair = await is_pair(catalog, store)
    report.kept_because = decide(report, pair=pair, restored_s=restored_s, undo_window_s=undo_window_s)
    if report.kept_because is None:
        delay = microseconds(trash_delay_s)
        for start in range(0, len(old), PAGE):
            page = old[start : start + PAGE]
            report.trashed += await throw_away_strays(catalog, page, reason="orphan", delay=delay)
    log.warning("orphans", **report.to_json())
    return report


def decide(
    report: ReconcileReport, *, pair: bool, restored_s: float | None, undo_window_s: float
) -> str | None:
    """Why orphans must stay; None when they may go. `restored_s` is the age of a restored catalog. Pure."""
    if not pair:
        return "the store does not carry this catalog's id and epoch"
    if restored_s is not None and restored_s < undo_window_s:
        return (
            "the catalog was restored less than an undo window ago, "
            "and what was pushed after its backup is among the orphans"
        )
    if report.orphans >= report.objects * MOST_SHARE:
        return (
            f"{report.orphans} of {report.objects} objects are orphans, too many to be leftovers; "
            "if they are, remove them with: entrepot admin fsck --repair"
        )
    return None


def _restored_at(connection: Connection, now: int) -> int | None:
    """Since when a restored catalog (its epoch was raised) has been looked at; None for an original."""
    known = get_identity(connection)
    if known is None or known.epoch <= 1:
        return None
    epoch, _, since = (get_setting(connection, RESTORED_SEEN) or "").partition(" ")
    if epoch == str(known.epoch):
        return int(since)
    set_setting(connection, RESTORED_SEEN, f"{known.epoch} {now}")
    return now


async def is_pair(catalog: Catalog, store: BlobStore) -> bool:
    """Whether catalog and store carry the same id and epoch."""
    known, marked = await catalog.read(get_identity), await store.read_identity()
    if known is None or marked is None:
        return False
    return (known.store_id, known.epoch) == (marked.store_id, marked.epoch)
