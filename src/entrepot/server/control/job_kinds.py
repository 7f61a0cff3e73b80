"""Every kind of background job, declared once: its name, what it does in words, how often it comes round, the
settings that decide that, and what runs.

`process.jobs_process` makes handlers and schedule of it; the jobs page, `entrepot admin jobs` and the table
in docs/upkeep.md read it. A new job is a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from entrepot.server.config.model import Config
from entrepot.server.control.contents import index_settings
from entrepot.server.control.retention import retention_if_due
from entrepot.server.control.services import Services
from entrepot.server.control.upkeep import gc_settings, make_mender, orphan_age_s
from entrepot.server.db.clock import microseconds
from entrepot.server.events.sequencer import prune
from entrepot.server.upkeep.collection.collect import collect
from entrepot.server.upkeep.collection.totals import count_stored, note_stored
from entrepot.server.upkeep.collection.trash import sweep
from entrepot.server.upkeep.integrity.database_check import check_integrity
from entrepot.server.upkeep.integrity.reconcile import reconcile
from entrepot.server.upkeep.integrity.scrub import scrub
from entrepot.server.upkeep.integrity.sure_store import sure_store
from entrepot.server.upkeep.runner.job_runner import Handler, JobContext

__all__ = ["JOB_KINDS", "JobKind", "find_job_kind"]

DAY_S: Final = 24 * 3600.0
MINUTE_S: Final = 60.0
_PERIODS: Final = {DAY_S: "once a day", MINUTE_S: "once a minute"}

Result = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind of job."""

    name: str
    """As the job table, logs and figures have it."""
    words: str
    """What it does, for people: one sentence."""
    handler: Callable[[Services], Handler]
    """Made once in a process that takes jobs, so that its counters are there before there is something to
    count: who watches for a rise misses the one with which a figure first shows itself."""
    interval: str | None = None
    """The setting that says how often it runs; None: `at_least_every_s` alone does."""
    at_least_every_s: float | None = None
    switch: str | None = None
    """The setting that can turn it off."""
    is_frequent: bool = False
    """Runs that went well are left out of the list of all runs."""

    def period_s(self, config: Config) -> float | None:
        """Seconds from the end of one run to the next one; None: it is switched off here."""
        if self.switch is not None and not _setting(config, self.switch):
            return None
        periods = [self.at_least_every_s] if self.at_least_every_s is not None else []
        if self.interval is not None:
            periods.append(float(_setting(config, self.interval)))
        return min(periods)

    @property
    def how_often(self) -> str:
        """For people, with the names of the settings."""
        often = "" if self.at_least_every_s is None else _PERIODS[self.at_least_every_s]
        if self.interval is not None:
            often += f", or every `{self.interval}` when that is shorter" if often else f"`{self.interval}`"
        return often + (f", unless `{self.switch}` is off" if self.switch is not None else "")


def _setting(config: Config, name: str) -> Any:
    section, _, key = name.partition(".")
    return getattr(getattr(config, section), key)


def find_job_kind(name: str) -> JobKind | None:
    return next((kind for kind in JOB_KINDS if kind.name == name), None)


def _gc(services: Services) -> Handler:
    removed = services.metrics.counter(
        "entrepot_gc_removed_total", "What garbage collection removed, by kind.", ("kind",)
    )

    async def run(_context: JobContext) -> Result:
        catalog = services.catalog
        report = await collect(catalog, gc_settings(services))
        for kind, number in report.removed.items():
            removed.add(kind, by=number)
        await catalog.write(note_stored, await catalog.read(count_stored), catalog.clock.now(), durable=False)
        return report.to_json()

    return run


def _sweep(services: Services) -> Handler:
    async def run(context: JobContext) -> Result:
        return (
            await sweep(services.catalog, services.store, by=context.by, copied=services.copied)
        ).to_json()

    return run


def _scrub(services: Services) -> Handler:
    count = services.metrics.counter
    read_back = count("entrepot_scrub_bytes_total", "Bytes that were read back.")
    damaged = count("entrepot_scrub_damaged_total", "Blobs found damaged or missing.")
    repaired = count("entrepot_scrub_repaired_total", "Blobs brought back from a repair source.")

    async def run(_context: JobContext) -> Result:
        settings = services.config.scrub
        report = await scrub(
            services.catalog,
            sure_store(services.catalog, services.store),
            budget_bytes=settings.run_bytes,
            bytes_per_s=settings.rate,
            again_after_s=settings.every,
            mend=make_mender(services),
        )
        read_back.add(by=report.bytes)
        damaged.add(by=len(report.damaged))
        repaired.add(by=len(report.repaired))
        return report.to_json()

    return run


def _reconcile(services: Services) -> Handler:
    orphans = services.metrics.counter("entrepot_orphans_found_total", "Stored objects that no row knows of.")

    async def run(_context: JobContext) -> Result:
        report = await reconcile(
            services.catalog,
            services.store,
            undo_window_s=orphan_age_s(services),
            trash_delay_s=services.limits.trash_delay_s,
        )
        orphans.add(by=report.orphans)
        return report.to_json()

    return run


def _integrity(services: Services) -> Handler:
    async def run(_context: JobContext) -> Result:
        return {"problems": await check_integrity(services.catalog)}

    return run


def _retention(services: Services) -> Handler:
    async def run(_context: JobContext) -> Result:
        return await retention_if_due(services)

    return run


def _prune_events(services: Services) -> Handler:
    async def run(_context: JobContext) -> Result:
        before = services.now - microseconds(services.config.events.keep)
        events = await services.catalog.write(prune, before, durable=False)
        return {"events": events, "uploads": await services.uploads.forget_begun()}

    return run


def _insight(services: Services) -> Handler:
    from entrepot.server.insight.indexer import Indexer

    looked_into = services.metrics.counter(
        "entrepot_images_looked_into_total", "Images whose files were listed, or could not be."
    )
    indexer = Indexer(services.catalog, services.store, index_settings(services.config))

    async def run(_context: JobContext) -> Result:
        result = await indexer.run()
        looked_into.add(by=result.get("images", 0))
        return result

    return run


JOB_KINDS: Final = (
    JobKind(
        name="gc",
        words="Removes what nothing refers to and whose undo window is over.",
        handler=_gc,
        interval="gc.interval",
        switch="gc.enabled",
    ),
    JobKind(
        name="sweep",
        words="Unlinks the files of what was removed.",
        handler=_sweep,
        # No rarer than collection: who collects every few seconds wants the room, too.
        interval="gc.interval",
        at_least_every_s=MINUTE_S,
        is_frequent=True,
    ),
    JobKind(
        name="retention",
        words="Removes tags that the retention policies let go, when their schedule says.",
        handler=_retention,
        at_least_every_s=MINUTE_S,
        is_frequent=True,
    ),
    JobKind(
        name="scrub",
        words="Reads blobs back and compares them with their digests.",
        handler=_scrub,
        interval="scrub.interval",
        switch="scrub.enabled",
    ),
    JobKind(
        name="reconcile",
        words="Compares the store with the catalog.",
        handler=_reconcile,
        at_least_every_s=DAY_S,
    ),
    JobKind(
        name="integrity",
        words="Checks the database itself.",
        handler=_integrity,
        at_least_every_s=DAY_S,
    ),
    JobKind(
        name="look-into-images",
        words="Lists the files of images that are new.",
        handler=_insight,
        interval="insight.interval",
        switch="insight.enabled",
        is_frequent=True,
    ),
    JobKind(
        name="prune-events",
        words="Forgets events older than `events.keep`, and names of old uploads.",
        handler=_prune_events,
        at_least_every_s=DAY_S,
    ),
)
"""In the order that people are shown."""
