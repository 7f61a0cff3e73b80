"""Figures about the registry as a whole, for `/metrics`: its nodes, its background work, what it holds.

One process of a server looks, so that a number is not counted once a process; every server tells the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from sqlalchemy import Connection, func, select

from entrepot.errors import EntrepotError
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import SECOND
from entrepot.server.db.copynote import CopyState
from entrepot.server.db.tables import event, job, project, trash, upload
from entrepot.server.upkeep.nodes import ClusterNode, list_nodes
from entrepot.server.upkeep.runner.job_table import last_result

__all__ = ["ClusterFigures", "ClusterState", "read_state"]

LOOK_S: Final = 5.0
CHECK_TIMEOUT_S: Final = 5.0


class GaugeLike(Protocol):
    """What is needed of a gauge."""

    values: dict[tuple[str, ...], float]


NewGauge = Callable[[str, str, tuple[str, ...]], GaugeLike]
Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What the catalog says about the whole registry."""

    nodes: list[ClusterNode]
    jobs: dict[tuple[str, str], int] = field(default_factory=dict)
    """(kind, state) → unfinished jobs."""
    overdue_s: float = 0.0
    """How long the job that is due longest has waited to be taken."""
    events_waiting: int = 0
    uploads: int = 0
    trash: int = 0
    used_bytes: int = 0
    blobs_lost: int = 0
    """As of the last scrub, whichever node did it."""


def read_state(connection: Connection, now: int) -> ClusterState:
    """Look once; every statement is answered by an index or a small table."""
    open_jobs = job.c.state.in_(["queued", "running"])
    counted = connection.execute(
        select(job.c.kind, job.c.state, func.count()).where(open_jobs).group_by(job.c.kind, job.c.state)
    ).all()
    due = connection.execute(select(func.min(job.c.run_at)).where(job.c.state == "queued")).scalar_one()

    def count(what: object, *where: object) -> int:
        return int(connection.execute(select(func.count()).select_from(what).where(*where)).scalar_one())  # type: ignore[arg-type]  # any table, any condition

    return ClusterState(
        nodes=list_nodes(connection, now),
        jobs={(kind, state): number for kind, state, number in counted},
        overdue_s=0.0 if due is None else max(0.0, (now - due) / SECOND),
        events_waiting=count(event, event.c.number.is_(None)),
        uploads=count(upload),
        trash=count(trash),
        used_bytes=int(connection.execute(select(func.sum(project.c.usage_bytes))).scalar_one() or 0),
        blobs_lost=int(last_result(connection, "scrub").get("lost", 0)),
    )


class ClusterFigures:
    """Keeps the gauges up to date."""

    def __init__(
        self,
        catalog: Catalog,
        checks: Mapping[str, Check],
        gauge: NewGauge,
        copied: Callable[[], CopyState] | None = None,
    ) -> None:
        self._catalog = catalog
        self._checks = checks
        self._copied = copied
        self.copy_lag = copied and gauge(
            "entrepot_catalog_copy_lag_seconds", "What would be lost if the catalog's disk were gone.", ()
        )
        self.nodes = gauge("entrepot_nodes", "Nodes, by role and state (alive, silent).", ("role", "state"))
        self.node_silent = gauge(
            "entrepot_node_silent_seconds", "Time since a node was last heard of.", ("node", "role")
        )
        self.node_healthy = gauge(
            "entrepot_node_healthy", "1: a node is alive and can use what it needs.", ("node", "role")
        )
        self.part_up = gauge("entrepot_part_up", "1: the catalog or the store can be used.", ("part",))
        self.read_only = gauge(
            "entrepot_read_only", "1: the catalog is damaged; it is read and not written.", ()
        )
        self.jobs = gauge("entrepot_jobs", "Unfinished jobs, by kind and state.", ("kind", "state"))
        self.overdue = gauge("entrepot_jobs_overdue_seconds", "How long a due job has waited.", ())
        self.events = gauge("entrepot_events_waiting", "Events without a number yet.", ())
        self.uploads = gauge("entrepot_uploads", "Uploads under way or left alone.", ())
        self.trash = gauge("entrepot_trash_objects", "Files that wait to be unlinked.", ())
        self.lost = gauge(
            "entrepot_blobs_lost", "Blobs out of service that images need, as of the last scrub.", ()
        )
        self.used = gauge("entrepot_used_bytes", "Bytes that projects use, as quotas count them.", ())

    async def run(self, stop: asyncio.Event) -> None:
        """Look every few seconds until `stop` is set."""
        while not stop.is_set():
            await self.look()
            try:
                await asyncio.wait_for(stop.wait(), LOOK_S)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Look once."""
        for part, check in self._checks.items():
            self.part_up.values[part,] = float(await _works(check))
        self.read_only.values[()] = float(self._catalog.read_only is not None)
        if self._copied is not None and self.copy_lag is not None:
            self.copy_lag.values[()] = (await asyncio.to_thread(self._copied)).lag_s
        try:
            state = await self._catalog.read(read_state, self._catalog.clock.steady())
        except EntrepotError:
            return  # entrepot_part_up says so; the other figures stay what they were
        self._show(state)

    def _show(self, state: ClusterState) -> None:
        counts: dict[tuple[str, ...], float] = {}
        for node in state.nodes:
            counts[node.role, node.state] = counts.get((node.role, node.state), 0) + 1
        self.nodes.values = counts
        self.node_silent.values = {(node.id, node.role): node.silent_s for node in state.nodes}
        self.node_healthy.values = {(node.id, node.role): float(node.is_healthy) for node in state.nodes}
        self.jobs.values = {key: float(number) for key, number in state.jobs.items()}
        self.overdue.values[()] = state.overdue_s
        self.events.values[()] = state.events_waiting
        self.uploads.values[()] = state.uploads
        self.trash.values[()] = state.trash
        self.used.values[()] = state.used_bytes
        self.lost.values[()] = state.blobs_lost


async def _works(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except (TimeoutError, EntrepotError, OSError):
        return False
    return True
