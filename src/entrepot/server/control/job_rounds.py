"""Background work as its page shows it: kinds that come round, and single runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, not_, select

from entrepot.server.db.tables import job

__all__ = ["JobRound", "job_rounds", "list_jobs"]

_OPEN = ("queued", "running")
_ENDED = ("done", "failed")


@dataclass(frozen=True, slots=True)
class JobRound:
    """One kind of job: how it went last, and when it comes next."""

    kind: str
    last: Any | None
    """Its last run that has ended."""
    next: Any | None
    """The one that runs, else the one that is queued."""


def job_rounds(connection: Connection, kinds: Iterable[str]) -> list[JobRound]:
    """In the order of `kinds`."""

    def one(kind: str, states: tuple[str, ...], *order: Any) -> Any | None:
        query = select(job).where(job.c.kind == kind, job.c.state.in_(states)).order_by(*order).limit(1)
        return connection.execute(query).first()

    return [
        JobRound(
            kind,
            last=one(kind, _ENDED, job.c.finished_at.desc()),
            next=one(kind, _OPEN, job.c.state.desc(), job.c.run_at),
        )
        for kind in kinds
    ]


def list_jobs(connection: Connection, *, kind: str = "", n: int = 100) -> list[Any]:
    """Those that run or ran, newest first. Of all kinds without the sweeps that went well: one a minute."""
    query = select(job).where(job.c.state != "queued").order_by(job.c.id.desc()).limit(n)
    if kind:
        query = query.where(job.c.kind == kind)
    else:
        query = query.where(not_(and_(job.c.kind == "sweep", job.c.state == "done")))
    return list(connection.execute(query).all())
