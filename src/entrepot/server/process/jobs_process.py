"""The process that does a server's background work: the jobs of `control.job_kinds`, the numbers
of events, figures.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from entrepot.observability.tracing import shut_down_tracing, span
from entrepot.server.compose import build
from entrepot.server.config.model import Config
from entrepot.server.config.version import VERSION
from entrepot.server.control.job_kinds import JOB_KINDS
from entrepot.server.control.services import Services
from entrepot.server.events.sequencer import Sequencer
from entrepot.server.process.pulse import Pulse
from entrepot.server.process.request_process import new_loop, start_tracing
from entrepot.server.telemetry.metrics import Metrics
from entrepot.server.upkeep.disk_reserve import keep_reserve
from entrepot.server.upkeep.figures import ClusterFigures
from entrepot.server.upkeep.integrity.database_check import watch_integrity
from entrepot.server.upkeep.runner.job_runner import Handler, JobContext, JobRunner, Periodic, runner_name

Result = Mapping[str, Any] | None
Attendant = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


def make_job_runner(services: Services, *, role: str = "jobs") -> JobRunner:
    """What a jobs process runs; `role` is `worker` when it is no part of a server."""
    config, name = services.config, runner_name()
    handlers: dict[str, Handler] = {}
    periodic: list[Periodic] = []
    for kind in JOB_KINDS:
        period_s = kind.period_s(config)
        if period_s is not None:
            handlers[kind.name] = partial(_traced, kind.name, kind.handler(services))
            periodic.append(Periodic(kind.name, period_s))
    figures = ClusterFigures(services.catalog, services.checks, services.metrics.gauge)
    integrity = partial(watch_integrity, services.catalog)
    attendants: list[Attendant] = [Sequencer(services.catalog).run, figures.run, integrity]
    if config.metrics.otlp_endpoint:
        from entrepot.server.telemetry.otlp import OtlpMetrics

        every_s = max(1.0, float(config.metrics.otlp_interval))
        sender = OtlpMetrics(services.metrics, config.metrics.otlp_endpoint, every_s=every_s, version=VERSION)
        attendants.append(sender.run)
    if services.store.reserve is not None:
        attendants.append(partial(keep_reserve, services.store.reserve))
    return JobRunner(
        services.catalog,
        handlers,
        periodic=periodic,
        name=name,
        role=role,
        version=VERSION,
        # On SQLite the server's other processes have no row of their own.
        listen=config.server.listen if role == "jobs" and services.catalog.dialect == "sqlite" else (),
        attendants=attendants,
    )


async def _traced(kind: str, handler: Handler, context: JobContext) -> Result:
    with span(f"job.{kind}", job=context.job.id):
        return await handler(context)


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
        await make_job_runner(services, role=role).run(stop)
    finally:
        for task in background:
            task.cancel()
        await services.close()
        await asyncio.to_thread(shut_down_tracing)
        metrics.publish()
    return 1 if broken else 0
