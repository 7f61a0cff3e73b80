"""Background work of a server: which jobs there are, how often they run, and the process that runs them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from entrepot.observability.tracing import shut_down_tracing, span
from entrepot.server.backup.repair import Mender, open_sources
from entrepot.server.compose import build, trash_delay_s
from entrepot.server.config.model import Config
from entrepot.server.config.version import VERSION
from entrepot.server.control.services import Services
from entrepot.server.db.clock import microseconds
from entrepot.server.process.pulse import Pulse
from entrepot.server.process.request_process import new_loop, start_tracing
from entrepot.server.telemetry.metrics import Metrics
from entrepot.server.upkeep import outbox
from entrepot.server.upkeep.collection.collect import GcSettings, collect
from entrepot.server.upkeep.collection.totals import count_stored, note_stored
from entrepot.server.upkeep.collection.trash import sweep
from entrepot.server.upkeep.disk_reserve import keep_reserve
from entrepot.server.upkeep.figures import ClusterFigures
from entrepot.server.upkeep.integrity.database_check import check_integrity, watch_integrity
from entrepot.server.upkeep.integrity.reconcile import reconcile
from entrepot.server.upkeep.integrity.scrub import scrub
from entrepot.server.upkeep.integrity.sure_store import sure_store
from entrepot.server.upkeep.outbox import OutboxDelivery
from entrepot.server.upkeep.runner.job_runner import Handler, JobContext, Periodic, Worker, worker_name

DAY_S: Final = 24 * 3600.0
SWEEP_S: Final = 60.0
EVENTS_KEPT_S: Final = 7 * DAY_S

Result = Mapping[str, Any] | None
Attendant = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


class UpkeepFigures:
    """What background work counts. Made before there is something to count: who watches for a rise misses the
    one with which a figure first shows itself."""

    def __init__(self, metrics: Metrics) -> None:
        count = metrics.counter
        self.removed = count(
            "entrepot_gc_removed_total", "What garbage collection removed, by kind.", ("kind",)
        )
        self.read_back = count("entrepot_scrub_bytes_total", "Bytes that were read back.")
        self.damaged = count("entrepot_scrub_damaged_total", "Blobs found damaged or missing.")
        self.repaired = count("entrepot_scrub_repaired_total", "Blobs brought back from a repair source.")
        self.orphans = count("entrepot_orphans_found_total", "Stored objects that no row knows of.")


def make_jobs_worker(services: Services, *, role: str = "jobs") -> Worker:
    """The worker of a jobs process; `role` is `worker` when it is no part of a server."""
    config, name = services.config, worker_name()
    upkeep = UpkeepFigures(services.metrics)
    handlers: dict[str, Handler] = {
        "sweep": partial(_sweep, services, name),
        "integrity": partial(_integrity, services),
        "reconcile": partial(_reconcile, services, upkeep),
        "prune-events": partial(_prune_events, services),
    }
    periodic = [
        Periodic("sweep", min(SWEEP_S, config.gc.interval)),
        Periodic("integrity", DAY_S),
        Periodic("reconcile", DAY_S),
        Periodic("prune-events", DAY_S),
    ]
    if config.gc.enabled:
        handlers["gc"] = partial(_gc, services, upkeep)
        periodic.append(Periodic("gc", config.gc.interval))
    if config.scrub.enabled:
        handlers["scrub"] = partial(_scrub, services, upkeep)
        periodic.append(Periodic("scrub", config.scrub.interval))
    delivery = OutboxDelivery(services.catalog, (), by=name)
    figures = ClusterFigures(services.catalog, services.checks, services.metrics.gauge)
    integrity = partial(watch_integrity, services.catalog)
    attendants: list[Attendant] = [delivery.run, figures.run, integrity]
    if config.metrics.otlp_endpoint:
        from entrepot.server.telemetry.otlp import OtlpMetrics

        every_s = max(1.0, float(config.metrics.otlp_interval))
        sender = OtlpMetrics(services.metrics, config.metrics.otlp_endpoint, every_s=every_s, version=VERSION)
        attendants.append(sender.run)
    if services.store.reserve is not None:
        attendants.append(partial(keep_reserve, services.store.reserve))
    return Worker(
        services.catalog,
        {kind: partial(_traced, kind, handler) for kind, handler in handlers.items()},
        periodic=periodic,
        name=name,
        role=role,
        version=VERSION,
        attendants=attendants,
    )


async def _traced(kind: str, handler: Handler, context: JobContext) -> Result:
    with span(f"job.{kind}", job=context.job.id):
        return await handler(context)


def gc_settings(config: Config) -> GcSettings:
    """`[gc]`, as garbage collection takes it."""
    gc = config.gc
    return GcSettings(
        undo_window_s=gc.undo_window,
        trash_delay_s=trash_delay_s(config),
        untagged=gc.untagged,
        untagged_after_s=gc.untagged_after,
    )


def make_mender(services: Services) -> Mender:
    """Who brings lost blobs back: what `[repair]` names."""
    return Mender(
        services.catalog,
        services.store,
        open_sources(services.config.repair.sources),
        trash_delay_s=trash_delay_s(services.config),
    )


async def _gc(services: Services, upkeep: UpkeepFigures, _context: JobContext) -> Result:
    report = await collect(services.catalog, gc_settings(services.config))
    for kind, number in report.removed.items():
        upkeep.removed.add(kind, by=number)
    catalog = services.catalog
    await catalog.write(note_stored, await catalog.read(count_stored), catalog.clock.now(), durable=False)
    return report.to_json()


async def _sweep(services: Services, name: str, _context: JobContext) -> Result:
    return (await sweep(services.catalog, services.store, by=name)).to_json()


async def _scrub(services: Services, upkeep: UpkeepFigures, _context: JobContext) -> Result:
    settings = services.config.scrub
    report = await scrub(
        services.catalog,
        sure_store(services.catalog, services.store),
        budget_bytes=settings.run_bytes,
        bytes_per_s=settings.rate,
        again_after_s=settings.every,
        mend=make_mender(services),
    )
    upkeep.read_back.add(by=report.bytes)
    upkeep.damaged.add(by=len(report.damaged))
    upkeep.repaired.add(by=len(report.repaired))
    return report.to_json()


async def _reconcile(services: Services, upkeep: UpkeepFigures, _context: JobContext) -> Result:
    gc = services.config.gc
    window = max(gc.undo_window, services.config.limits.upload_ttl)  # uploads have no rows of their objects
    report = await reconcile(
        services.catalog,
        services.store,
        undo_window_s=window,
        trash_delay_s=trash_delay_s(services.config),
    )
    upkeep.orphans.add(by=report.orphans)
    return report.to_json()


async def _integrity(services: Services, _context: JobContext) -> Result:
    return {"problems": await check_integrity(services.catalog)}


async def _prune_events(services: Services, _context: JobContext) -> Result:
    before = services.catalog.clock.steady() - microseconds(EVENTS_KEPT_S)

    def prune(connection: Any) -> int:
        return outbox.prune(connection, before=before)

    events = await services.catalog.write(prune, durable=False)
    return {"events": events, "uploads": await services.uploads.forget_begun()}


def run_jobs(
    config: Config,
    mode: str,
    lifeline: int,
    scratch: Path,
    *,
    role: str = "jobs",
    pulse: Pulse | None = None,
) -> int:
    """The jobs process of a server: work until SIGTERM or until the supervisor is gone."""
    loop = new_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_work(config, mode, lifeline, scratch, role, pulse))


async def _work(
    config: Config, mode: str, lifeline: int, scratch: Path, role: str, pulse: Pulse | None
) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: None)

    def orphaned() -> None:
        loop.remove_reader(lifeline)
        stop.set()

    loop.add_reader(lifeline, orphaned)
    start_tracing(config)
    metrics = Metrics(scratch, role="jobs")
    broken: list[str] = []

    def give_up(reason: str) -> None:
        """The catalog cannot be written by this process any more: a new one may."""
        broken.append(reason)
        loop.call_soon_threadsafe(stop.set)

    services = await build(config, mode, metrics=metrics, on_broken=give_up)
    background = [asyncio.create_task(metrics.run())]
    if pulse is not None:
        background.append(asyncio.create_task(pulse.run()))
    try:
        await make_jobs_worker(services, role=role).run(stop)
    finally:
        for task in background:
            task.cancel()
        await services.close()
        await asyncio.to_thread(shut_down_tracing)
        metrics.publish()
    return 1 if broken else 0
