"""Which machines serve this registry, as the catalog knows it.

A node is one `entrepot serve` or `entrepot worker`. Each of its processes that answers requests says
now and then that it is there; the row is the node's, so it stays as long as one of them lives. Times are
the catalog's steady clock, on which all nodes agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, insert, select, update

from entrepot.errors import EntrepotError
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import SECOND, microseconds
from entrepot.server.db.tables import node
from entrepot.server.repos.rows import insert_new

__all__ = ["BEAT_S", "SILENT_S", "ClusterNode", "NodeBeat", "forget_node", "forget_silent", "list_nodes"]

BEAT_S: Final = 10.0
SILENT_S: Final = 45.0
"""A node that has not been heard of for so long is thought dead."""
FORGOTTEN_S: Final = 24 * 3600.0
SUCCEEDED_S: Final = 180.0
"""After so much silence a node is forgotten whose place on its machine another one has taken."""

NodeState = Literal["alive", "silent"]


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """One machine's part of the registry."""

    id: str
    name: str
    """Its host name."""
    role: str
    """`serve` answers requests, `jobs` does a server's background work, `worker` does it elsewhere."""
    version: str
    started_at: int
    silent_s: float
    """Seconds since it was last heard of."""
    state: NodeState
    detail: Mapping[str, Any]
    """`pid`; of what answers requests `listen`, `problems` by part when it is not ready, and on PostgreSQL
    `clock_ahead_s`: by how much its clock is ahead of the one that all nodes go by."""

    @property
    def is_healthy(self) -> bool:
        """Alive, and nothing is wrong with what it needs."""
        return self.state == "alive" and not self.detail.get("problems")

    @property
    def work(self) -> str:
        """What it does, in words. On SQLite one row stands for a whole server, and says where it listens."""
        if self.role == "serve":
            return "answers requests"
        return "everything" if self.role == "jobs" and self.detail.get("listen") else "background work"

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "version": self.version,
            "state": self.state,
            "silent_s": round(self.silent_s, 1),
            "started_at": self.started_at // SECOND,
            **self.detail,
        }


def list_nodes(connection: Connection, now: int) -> list[ClusterNode]:
    """All nodes heard of within a day, by role and name. `now` is the steady clock's."""
    rows = connection.execute(select(node).order_by(node.c.role, node.c.name, node.c.id))
    return [_node(row, now) for row in rows]


def forget_node(connection: Connection, node_id: str, now: int) -> ClusterNode | None:
    """Take a silent node off the list; what it was, None when there is none. One that is alive stays."""
    row = connection.execute(select(node).where(node.c.id == node_id)).one_or_none()
    if row is None:
        return None
    found = _node(row, now)
    if found.state == "silent":
        connection.execute(delete(node).where(node.c.id == node_id, node.c.seen_at == row.seen_at))
    return found


def forget_silent(
    connection: Connection,
    own: str,
    *,
    name: str,
    role: str,
    started_at: int,
    now: int,
    listen: tuple[str, ...] = (),
) -> None:
    """Forget who has been silent for a day; and who was killed on this machine before node `own` took its
    place: the same role, the same addresses, and silent since before `own` was started.
    """
    connection.execute(delete(node).where(node.c.seen_at < now - microseconds(FORGOTTEN_S)))
    before = min(started_at, now - microseconds(SUCCEEDED_S))
    rows = connection.execute(
        select(node).where(
            node.c.name == name, node.c.role == role, node.c.id != own, node.c.seen_at < before
        )
    )
    gone = [row.id for row in rows if tuple(_node(row, now).detail.get("listen", ())) == listen]
    if gone:
        connection.execute(delete(node).where(node.c.id.in_(gone), node.c.seen_at < before))


def _node(row: Any, now: int) -> ClusterNode:
    silent_s = max(0.0, (now - row.seen_at) / SECOND)
    return ClusterNode(
        id=row.id,
        name=row.name,
        role=row.role,
        version=row.version,
        started_at=row.started_at,
        silent_s=silent_s,
        state="alive" if silent_s < SILENT_S else "silent",
        detail=json.loads(row.detail) if row.detail else {},
    )


class NodeBeat:
    """Says that this node is there, until it is about to stop."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        version: str,
        listen: tuple[str, ...] = (),
        problems: Callable[[], Awaitable[Mapping[str, str]]],
        stopping: Callable[[], bool] = lambda: False,
        role: str = "serve",
        pid: int | None = None,
    ) -> None:
        """`problems` tells by part what is wrong with it. `pid` is that of the process that stands for the
        node: the supervisor, which all its workers have as their parent.
        """
        self._catalog = catalog
        self._version = version
        self._listen = listen
        self._problems = problems
        self._stopping = stopping
        self._role = role
        self._pid = pid or os.getppid()
        self._host = socket.gethostname()
        self._started_at: int | None = None
        self.id = f"{self._host}-{self._pid}"

    async def run(self) -> None:
        """Until cancelled; a catalog that is away is tried again."""
        while not self._stopping():
            with contextlib.suppress(EntrepotError):
                problems = dict(await self._problems())
                await self._catalog.write(self._beat, self._catalog.clock.steady(), problems, durable=False)
            await asyncio.sleep(BEAT_S)

    async def leave(self) -> None:
        """The node stops: it is no longer listed."""
        with contextlib.suppress(EntrepotError):
            await self._catalog.write(_leave, self.id, durable=False)

    def _beat(self, connection: Connection, now: int, problems: dict[str, str]) -> None:
        detail: dict[str, Any] = {"pid": self._pid, "listen": list(self._listen)}
        if problems:
            detail["problems"] = problems
        clock = self._catalog.clock
        if self._catalog.dialect == "postgresql":  # on SQLite there is one machine and one clock
            detail["clock_ahead_s"] = round((clock.now() - clock.steady()) / SECOND, 1)
        said = {"seen_at": now, "version": self._version, "detail": json.dumps(detail)}
        if connection.execute(update(node).where(node.c.id == self.id).values(said)).rowcount == 0:
            row = {"id": self.id, "name": self._host, "role": self._role, "started_at": now, **said}
            insert_new(connection, insert(node), row)
        self._started_at = self._started_at or now
        forget_silent(
            connection,
            self.id,
            name=self._host,
            role=self._role,
            started_at=self._started_at,
            now=now,
            listen=tuple(self._listen),
        )


def _leave(connection: Connection, node_id: str) -> None:
    connection.execute(delete(node).where(node.c.id == node_id))
