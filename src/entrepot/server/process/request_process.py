"""One process that answers requests: services, an event loop, and Granian's listeners on inherited sockets.

Its life: build → listen → say "ready" → (SIGUSR1: `/readyz` says 503) → SIGTERM: accept nothing
new, let what is in flight finish for at most `drain_timeout` → close → exit. It also ends when the
supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.observability.tracing import configure_tracing, is_tracing, shut_down_tracing
from entrepot.server.compose import build
from entrepot.server.config.addresses import parse_networks
from entrepot.server.config.model import Config
from entrepot.server.config.version import VERSION
from entrepot.server.control.services import Services
from entrepot.server.http.crowd import Crowd
from entrepot.server.http.front import Front, Handler
from entrepot.server.http.open_mode_guard import HostRule
from entrepot.server.http.probes import Probes
from entrepot.server.http.strict_transport import StrictTransport
from entrepot.server.http.watch import TransferWatch
from entrepot.server.process.app import ProbesApp, RegistryApp, Site, SiteApp
from entrepot.server.process.granian_host import GranianHost, TlsFiles
from entrepot.server.process.memory import give_back
from entrepot.server.process.pulse import Pulse
from entrepot.server.telemetry.access_log import AccessLog, RequestIds
from entrepot.server.telemetry.metrics import Metrics
from entrepot.server.telemetry.traced import TracedApplication
from entrepot.server.upkeep.nodes import NodeBeat
from entrepot.server.upkeep.runner.background import in_background
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.dispatch import V2Application

log = get_log(__name__)

REGISTRY, ADMIN, METRICS = "registry", "admin", "metrics"
READY = b"R"
PULLS_S = 5.0


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket and what answers on it: `registry`, `admin` or `metrics`."""

    kind: str
    sock: socket.socket


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """What the supervisor hands such a process."""

    config: Config
    mode: str
    listeners: Sequence[Listener]
    tls: TlsFiles | None
    scratch: Path
    report: int
    """Descriptor on which READY is written."""
    lifeline: int
    """Descriptor that becomes readable when the supervisor is gone."""
    pulse: Pulse
    """What shows the supervisor that the event loop runs."""


def start_tracing(config: Config) -> None:
    """In each process, after it was forked: what sends spans is a thread."""
    if config.tracing.endpoint:
        configure_tracing(config.tracing.endpoint, version=VERSION, sample=config.tracing.sample)


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed: half as many instructions a request."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run_request_process(plan: RequestPlan) -> int:
    """Serve until told to stop; returns the exit code."""
    loop = new_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(RequestProcess(plan, loop).run())
    finally:
        asyncio.set_event_loop(None)


class RequestProcess:
    """Its parts, for as long as it lives."""

    def __init__(self, plan: RequestPlan, loop: asyncio.AbstractEventLoop) -> None:
        self._plan = plan
        self._loop = loop
        self._stopping = asyncio.Event()
        limits = plan.config.limits
        self._watch = TransferWatch(
            min_rate=limits.min_body_rate, window_s=limits.min_body_window, begin_s=limits.body_timeout
        )
        self._crowd = Crowd(
            requests=limits.requests_per_address,
            connections=limits.connections_per_address,
            proxies=parse_networks(plan.config.server.behind_proxy),
            ports={listener.sock.getsockname()[1] for listener in plan.listeners},
        )
        self._probes: Probes | None = None

    async def run(self) -> int:
        plan = self._plan
        start_tracing(plan.config)
        metrics = Metrics(plan.scratch)
        services = await build(plan.config, plan.mode, metrics=metrics, on_broken=self._broken)
        access_log = AccessLog(plan.config.log.access)
        host = GranianHost(
            self._loop,
            header_timeout_s=plan.config.limits.header_timeout,
            http2=plan.config.server.http2,
            backlog=plan.config.server.backlog,
        )
        # Loaded by the supervisor while the catalog was prepared; not needed before.
        from entrepot.server.process.site import open_site

        v2 = V2Context.of(services)
        async with open_site(services) as site:
            self._probes = Probes(
                metrics,
                services.checks,
                show_metrics=plan.config.metrics.enabled and not plan.config.metrics.listen,
                read_only=lambda: services.catalog.read_only,
            )
            self._listen(host, v2, metrics, access_log, site)
            self._install_signals()
            node = self._node(services)
            background = [
                in_background(run, self._stopping)
                for run in (
                    plan.pulse.run(),
                    access_log.run(),
                    metrics.run(),
                    self._watch.run(),
                    self._crowd.run(),
                    give_back(metrics.moved_bytes),
                    _write_pulls(services),
                    *([] if node is None else [node.run()]),
                )
            ]
            os.write(plan.report, READY)
            await self._stopping.wait()
            await self._drain(host)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            if node is not None:
                await node.leave()
        with contextlib.suppress(EntrepotError):
            await services.pulls.flush()
        await services.close()
        await asyncio.to_thread(shut_down_tracing)
        metrics.publish()
        access_log.close()
        return 0

    def _listen(
        self,
        host: GranianHost,
        v2: V2Context,
        metrics: Metrics,
        access_log: AccessLog,
        site: Site | None,
    ) -> None:
        plan, config = self._plan, self._plan.config
        assert self._probes is not None
        handlers: dict[str, Handler] = {
            REGISTRY: RegistryApp(V2Application(v2), self._probes, None if config.admin.listen else site),
            ADMIN: SiteApp(self._probes, site),
            METRICS: ProbesApp(self._probes),
        }
        guarded = plan.mode == "open"
        ids = RequestIds()
        for number, listener in enumerate(plan.listeners, 1):
            tls = plan.tls if listener.kind != METRICS else None
            front = Front(
                handlers[listener.kind],
                config=config,
                metrics=metrics,
                access_log=access_log,
                ids=ids,
                watch=self._watch,
                crowd=self._crowd,
                proxies=parse_networks(config.server.behind_proxy),
                host_rule=HostRule(config.server.allowed_hosts)
                if guarded and not config.server.allow_open and listener.kind != METRICS
                else None,
                check_origin=guarded,
                scheme="http" if tls is None else "https",
                strict_transport=StrictTransport(0 if config.tls.self_signed else config.tls.hsts),
            )
            traced = TracedApplication(front) if is_tracing() else front
            host.listen(listener.sock, traced, tls=tls, number=number)

    def _node(self, services: Services) -> NodeBeat | None:
        """What tells other nodes about this one; on SQLite there are none."""
        if services.catalog.dialect == "sqlite":
            return None
        probes = self._probes
        assert probes is not None
        return NodeBeat(
            services.catalog,
            version=VERSION,
            listen=self._plan.config.server.listen,
            problems=probes.problems,
            stopping=lambda: probes.draining,
        )

    def _install_signals(self) -> None:
        loop = self._loop
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGUSR1, self._look_away)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})  # blocked since the fork
        loop.add_reader(self._plan.lifeline, self._orphaned)

    def _look_away(self) -> None:
        if self._probes is not None:
            self._probes.draining = True

    def _orphaned(self) -> None:
        self._loop.remove_reader(self._plan.lifeline)
        self._stopping.set()

    def _broken(self, reason: str) -> None:
        """The catalog cannot be written by this process any more: a new one may."""
        log.error("catalog broken, process restarts", reason=reason)
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _drain(self, host: GranianHost) -> None:
        self._look_away()
        host.stop()
        for listener in self._plan.listeners:
            listener.sock.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._plan.config.server.drain_timeout):
                await host.finished()


async def _write_pulls(services: Services) -> None:
    """Write down now and then which tags were pulled, until cancelled."""
    while True:
        await asyncio.sleep(PULLS_S)
        with contextlib.suppress(EntrepotError):
            await services.pulls.flush()
