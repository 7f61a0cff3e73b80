"""Takes due jobs and runs them, in the jobs process of `entrepot serve` or in `entrepot worker` elsewhere.

Every runner looks for the same jobs; the row's lease decides who has it. A runner that dies loses its
lease and another takes over, so a handler must bear being run again: each of its steps is one transaction
that checks what it rests on.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, update

from entrepot.backoff import backoff_s
from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.db.tables import node
from entrepot.server.upkeep.nodes import forget_silent
from entrepot.server.upkeep.runner import job_table
from entrepot.server.upkeep.runner.background import in_background
from entrepot.server.upkeep.runner.job_table import PERIODIC, Job

__all__ = ["Handler", "JobContext", "JobRunner", "Periodic", "runner_name"]

log = get_log(__name__)

LEASE_S: Final = 60.0
"""A runner that has not been heard of for so long has lost its job."""
HEARTBEAT_S: Final = 10.0
SHORTEST_PERIOD_S: Final = 0.1
"""No periodic job comes round more often."""
MAX_ATTEMPTS: Final = 8
FIRST_BACKOFF_S: Final = 5.0
LONGEST_BACKOFF_S: Final = 3600.0
"""Wait after the first failure, and the longest one."""
CATALOG_AWAY_S: Final = 1.0
"""Wait before the catalog is asked again that could not take a change: a full disk, a restart."""
CATALOG_TRIES: Final = 16
"""With more in a row it is the job that fails: what no catalog takes must not go on at full speed, unseen."""
HISTORY_S: Final = 30 * 24 * 3600.0
"""How long finished jobs stay to be looked at."""


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job that comes round again `every_s` seconds after it last ended."""

    kind: str
    every_s: float


class JobContext:
    """What a handler gets."""

    def __init__(self, catalog: Catalog, job: Job, by: str) -> None:
        self.catalog = catalog
        self.job = job
        self.by = by
        """Names the runner among all of a catalog."""

    async def progress(self, figures: Mapping[str, Any]) -> None:
        """Show how far the job is."""

        def write(connection: Connection) -> None:
            job_table.report(connection, self.job.id, by=self.by, progress=figures)

        await self.catalog.write(write, durable=False)


Handler = Callable[[JobContext], Awaitable[Mapping[str, Any] | None]]
"""Does a job and returns what it did. Cancelled when the lease is lost or the process ends."""


class JobRunner:
    """Runs jobs of the kinds it has handlers for."""

    def __init__(
        self,
        catalog: Catalog,
        handlers: Mapping[str, Handler],
        *,
        periodic: Sequence[Periodic] = (),
        name: str | None = None,
        role: str = "serve",
        version: str = "",
        listen: tuple[str, ...] = (),
        concurrency: int = 4,
        poll_s: float = 1.0,
        attendants: Sequence[Callable[[asyncio.Event], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        """`attendants` are loops that run beside the jobs until the event is set, as the
        sequencer of events.
        """
        unknown = {one.kind for one in periodic} - set(handlers)
        assert not unknown, f"periodic jobs without a handler: {sorted(unknown)}"
        self._catalog = catalog
        self._handlers = dict(handlers)
        self._periodic = tuple(periodic)
        self._attendants = tuple(attendants)
        self.name = name or runner_name()
        self._role = role
        self._version = version
        self._listen = listen
        self._concurrency = concurrency
        shortest_s = min((one.every_s for one in self._periodic), default=HEARTBEAT_S)
        self._heartbeat_s = min(HEARTBEAT_S, max(shortest_s, SHORTEST_PERIOD_S))
        self._poll_s = min(poll_s, self._heartbeat_s)
        self._running: set[asyncio.Task[None]] = set()
        self._started_at: int | None = None
        self._away: dict[int, int] = {}  # how often in a row a job found the catalog away

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; jobs under way are then given back unfinished."""
        beside = [in_background(attendant(stop), stop) for attendant in self._attendants]
        next_heartbeat = 0.0
        loop = asyncio.get_running_loop()
        try:
            while not stop.is_set():
                if loop.time() >= next_heartbeat:
                    next_heartbeat = loop.time() + self._heartbeat_s
                    await self._quietly(self._heartbeat())
                if self._catalog.read_only is None:
                    await self._quietly(self._start_due())
                await self._wait(stop)
        finally:
            for task in (*self._running, *beside):
                task.cancel()
            await asyncio.gather(*self._running, *beside, return_exceptions=True)
            await self._quietly(self._catalog.write(_forget_node, self.name, durable=False))

    async def run_due(self) -> int:
        """Run every job that is due now, then return how many there were.

        For tests and one-off commands.
        """
        count = 0
        while (job := await self._claim()) is not None:
            await self._run_job(job)
            count += 1
        return count

    async def _wait(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait(
                {stopping, *self._running}, timeout=self._poll_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stopping.cancel()

    async def _quietly(self, work: Awaitable[Any]) -> None:
        """A database that is away for a while must not end the runner."""
        try:
            await work
        except EntrepotError as error:
            log.warning("jobs wait for the catalog", reason=error.message)

    async def _heartbeat(self) -> None:
        if self._catalog.read_only is not None:
            return
        steady = self._catalog.clock.steady()
        self._started_at = self._started_at or steady
        detail: dict[str, Any] = {"pid": os.getpid()}
        if self._listen:
            detail["listen"] = list(self._listen)
        said = (self._role, self._version, json.dumps(detail))
        await self._catalog.write(_beat, self.name, *said, self._started_at, steady, durable=False)
        await self.schedule()

    async def schedule(self) -> None:
        """Queue every periodic job that is not queued. Harmless when all runners do it."""
        steady = self._catalog.clock.steady()
        await self._catalog.write(_schedule, self._periodic, steady, durable=False)

    async def _start_due(self) -> None:
        while len(self._running) < self._concurrency:
            job = await self._claim()
            if job is None:
                return
            task = asyncio.create_task(self._run_job(job), name=f"job-{job.kind}-{job.id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _claim(self) -> Job | None:
        steady = self._catalog.clock.steady()
        if not await self._catalog.read(job_table.is_due, tuple(self._handlers), steady):
            return None

        def take(connection: Connection) -> Job | None:
            until = steady + microseconds(LEASE_S)
            return job_table.claim(
                connection, tuple(self._handlers), by=self.name, now=steady, leased_until=until
            )

        return await self._catalog.write(take, durable=False)

    async def _run_job(self, job: Job) -> None:
        context = JobContext(self._catalog, job, self.name)
        work = asyncio.ensure_future(self._handlers[job.kind](context))
        renewing = asyncio.create_task(self._keep_lease(job, work))
        try:
            result = await work
        except asyncio.CancelledError:
            work.cancel()
            await self._quietly(self._end(job_table.release, job, run_at=self._catalog.clock.steady()))
            raise
        except CatalogUnavailable as error:
            log.warning("job waits for the catalog", kind=job.kind, job=job.id, reason=error.message)
            times = self._away.pop(job.id, 0) + 1
            if times < CATALOG_TRIES:
                self._away[job.id] = times
                later = self._catalog.clock.steady() + microseconds(CATALOG_AWAY_S)
                await self._surely_end(job_table.release, job, run_at=later)
            else:
                await self._failed(job, error)
        except Exception as error:  # noqa: BLE001 - a job's failure is a row, not the runner's end
            self._away.pop(job.id, None)
            await self._failed(job, error)
        else:
            self._away.pop(job.id, None)
            finished_at = self._catalog.clock.steady()
            await self._surely_end(job_table.finish, job, now=finished_at, result=result)
        finally:
            renewing.cancel()

    async def _keep_lease(self, job: Job, work: asyncio.Future[Any]) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 4)
            until = self._catalog.clock.steady() + microseconds(LEASE_S)

            def renew(connection: Connection, until: int = until) -> bool:
                return job_table.renew(connection, job.id, by=self.name, leased_until=until)

            try:
                kept = await self._catalog.write(renew, durable=False)
            except EntrepotError:
                continue
            if not kept:
                log.warning("job lost", kind=job.kind, job=job.id)
                work.cancel()
                return

    async def _failed(self, job: Job, error: Exception) -> None:
        expected = isinstance(error, EntrepotError)
        report = log.error if expected else log.exception
        report("job failed", kind=job.kind, job=job.id, reason=str(error))
        steady = self._catalog.clock.steady()
        retry_at = None
        if job.attempts < MAX_ATTEMPTS:
            wait_s = backoff_s(job.attempts, first_s=FIRST_BACKOFF_S, longest_s=LONGEST_BACKOFF_S)
            retry_at = steady + microseconds(wait_s)
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        await self._surely_end(job_table.fail, job, now=steady, error=text, retry_at=retry_at)

    async def _surely_end(self, how: Callable[..., None], job: Job, **values: Any) -> None:
        """Go on until the catalog takes it: the job would otherwise be nobody's until its lease ends."""
        until = time.monotonic() + LEASE_S
        while True:
            try:
                await self._end(how, job, **values)
            except CatalogUnavailable as error:
                if time.monotonic() > until:
                    log.warning("jobs wait for the catalog", reason=error.message)
                    return
                await asyncio.sleep(CATALOG_AWAY_S)
            else:
                return

    async def _end(self, how: Callable[..., None], job: Job, **values: Any) -> None:
        def write(connection: Connection) -> None:
            how(connection, job.id, by=self.name, **values)

        await self._catalog.write(write, durable=False)


def runner_name() -> str:
    """Names this process among all that run a catalog's jobs."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def _schedule(connection: Connection, periodic: Sequence[Periodic], now: int) -> None:
    for one in periodic:
        last = job_table.last_finished(connection, one.kind)
        run_at = now if last is None else last + microseconds(one.every_s)
        job_table.enqueue(
            connection, one.kind, key=PERIODIC, payload={}, run_at=run_at, now=now, by="schedule"
        )
        if last is not None:  # the interval may have been made shorter
            job_table.bring_forward(connection, one.kind, key=PERIODIC, run_at=run_at)
    job_table.forget(connection, before=now - microseconds(HISTORY_S))


def _beat(
    connection: Connection, name: str, role: str, version: str, detail: str, started_at: int, now: int
) -> None:
    if connection.execute(update(node).where(node.c.id == name).values(seen_at=now)).rowcount == 0:
        connection.execute(
            insert(node).values(
                id=name,
                name=socket.gethostname(),
                role=role,
                version=version,
                started_at=started_at,
                seen_at=now,
                detail=detail,
            )
        )
    forget_silent(connection, name, name=socket.gethostname(), role=role, started_at=started_at, now=now)


def _forget_node(connection: Connection, name: str) -> None:
    connection.execute(delete(node).where(node.c.id == name))
