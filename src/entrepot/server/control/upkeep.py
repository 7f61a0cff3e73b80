"""Keeping a registry healthy, at once and in person: collect garbage, read blobs back, compare, mend.

The server's jobs (`job_kinds`) do the same by themselves; both take their numbers from the settings here.
"""

from __future__ import annotations

from dataclasses import replace

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import require
from entrepot.server.upkeep.collection.collect import GcSettings, collect
from entrepot.server.upkeep.collection.report import GcReport, Removal
from entrepot.server.upkeep.collection.trash import sweep
from entrepot.server.upkeep.integrity.fsck import FsckReport, FsckSettings, fsck
from entrepot.server.upkeep.integrity.lost_blobs import Mend
from entrepot.server.upkeep.integrity.reconcile import ReconcileReport, reconcile
from entrepot.server.upkeep.integrity.scrub import ScrubReport, scrub
from entrepot.server.upkeep.integrity.sure_store import sure_store

__all__ = [
    "check_everything",
    "collect_garbage",
    "find_orphans",
    "gc_settings",
    "make_mender",
    "orphan_age_s",
    "read_back",
]


async def collect_garbage(
    services: Services, actor: Actor, *, dry_run: bool = False, untagged: bool = False, listed: bool = False
) -> tuple[GcReport, list[Removal]]:
    """With what was removed, or would be, when it is to be `listed`; otherwise it is only counted.

    `untagged`: also manifests without a tag, whatever `gc.untagged` says. What is due in the trash is
    unlinked too.
    """
    await require(services, actor, Action.READ_SYSTEM if dry_run else Action.MANAGE_SYSTEM)
    settings = gc_settings(services)
    if untagged:
        settings = replace(settings, untagged=True)
    removals: list[Removal] = []
    report = await collect(
        services.catalog, settings, dry_run=dry_run, on_removal=removals.append if listed else None
    )
    if not dry_run:
        await sweep(services.catalog, services.store, by="admin gc", copied=services.copied)
    return report, removals


async def read_back(
    services: Services, actor: Actor, *, budget_bytes: int | None = None, bytes_per_s: int | None = None
) -> ScrubReport:
    """Every blob, or with a budget so much of them from where the last such run ended.

    `bytes_per_s` None: as `scrub.rate` says; 0: as fast as it goes. Raises StorageFailed when the whole store
    seems to be gone.
    """
    await require(services, actor, Action.MANAGE_SYSTEM)
    rate = services.config.scrub.rate if bytes_per_s is None else bytes_per_s
    return await scrub(
        services.catalog,
        sure_store(services.catalog, services.store),
        budget_bytes=budget_bytes,
        bytes_per_s=rate or None,
        mend=make_mender(services),
    )


async def check_everything(
    services: Services, actor: Actor, *, deep: bool = False, repair: bool = False
) -> FsckReport:
    """Catalog and store, both ways; `deep` reads every byte. Raises StorageFailed as `read_back` does."""
    await require(services, actor, Action.MANAGE_SYSTEM if repair else Action.READ_SYSTEM)
    settings = FsckSettings(
        undo_window_s=orphan_age_s(services),
        trash_delay_s=services.limits.trash_delay_s,
        deep=deep,
        repair=repair,
        mend=make_mender(services) if repair else None,
    )
    return await fsck(services.catalog, services.store, settings)


async def find_orphans(services: Services, actor: Actor) -> ReconcileReport:
    """Stored objects that no row knows of; they are removed when they are few, old, and surely ours."""
    await require(services, actor, Action.MANAGE_SYSTEM)
    return await reconcile(
        services.catalog,
        services.store,
        undo_window_s=orphan_age_s(services),
        trash_delay_s=services.limits.trash_delay_s,
    )


def gc_settings(services: Services) -> GcSettings:
    """`[gc]`, as garbage collection takes it."""
    gc = services.config.gc
    return GcSettings(
        undo_window_s=gc.undo_window,
        trash_delay_s=services.limits.trash_delay_s,
        untagged=gc.untagged,
        untagged_after_s=gc.untagged_after,
    )


def orphan_age_s(services: Services) -> float:
    """How old an object without a row is when it belongs to nothing: uploads have no rows of theirs."""
    return max(services.config.gc.undo_window, services.config.limits.upload_ttl)


def make_mender(services: Services) -> Mend:
    """Who brings lost blobs back: what `[repair]` names."""
    # Here: it brings a registry client along, for which a process that answers requests has no use.
    from entrepot.server.backup.repair import Mender, open_sources

    return Mender(
        services.catalog,
        services.store,
        open_sources(services.config.repair.sources),
        trash_delay_s=services.limits.trash_delay_s,
    )
