"""Background work: kinds that come round, single runs, and one that somebody wants at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, or_, select

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.job_kinds import JOB_KINDS, JobKind, find_job_kind
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look
from entrepot.server.db.tables import job
from entrepot.server.upkeep.runner.job_table import enqueue

__all__ = ["JobKind", "JobRound", "list_job_rounds", "list_jobs", "run_job"]

BY_HAND: Final = "by-hand"
"""The key of jobs that somebody asked for."""
_OPEN = ("queued", "running")
_ENDED = ("done", "failed")
_FREQUENT: Final = tuple(kind.name for kind in JOB_KINDS if kind.is_frequent)


@dataclass(frozen=True, slots=True)
class JobRound:
    """One kind of job: how it went last, and when it comes next."""

    kind: JobKind
    last: Any | None
    """Its last run that has ended."""
    next: Any | None
    """The one that runs, else the one that is queued."""


async def list_job_rounds(services: Services, actor: Actor) -> list[JobRound]:
    """Of every kind there is."""

    def see(t: Transaction) -> list[JobRound]:
        t.require(Action.READ_SYSTEM)
        return [
            JobRound(
                kind,
                last=_one(t.connection, kind.name, _ENDED, job.c.finished_at.desc()),
                next=_one(t.connection, kind.name, _OPEN, job.c.state.desc(), job.c.run_at),
            )
            for kind in JOB_KINDS
        ]

    return await look(services, actor, see)


async def list_jobs(services: Services, actor: Actor, *, kind: str = "", n: int = 100) -> list[Any]:
    """Those that run or ran, newest first. Of all kinds without what is frequent and went well."""

    def see(t: Transaction) -> list[Any]:
        t.require(Action.READ_SYSTEM)
        query = select(job).where(job.c.state != "queued").order_by(job.c.id.desc()).limit(n)
        if kind:
            query = query.where(job.c.kind == kind)
        else:
            query = query.where(or_(job.c.kind.not_in(_FREQUENT), job.c.state != "done"))
        return list(t.connection.execute(query).all())

    return await look(services, actor, see)


async def run_job(services: Services, actor: Actor, name: str) -> bool:
    """Soon, by whichever process takes jobs. False: it waits already, asked for by somebody.

    Raises InvalidInput.
    """

    def do(t: Transaction) -> bool:
        t.require(Action.MANAGE_SYSTEM)
        kind = find_job_kind(name)
        if kind is None:
            raise InvalidInput(
                f"no job is called {name[:40]}", hint="jobs: " + ", ".join(kind.name for kind in JOB_KINDS)
            )
        made = enqueue(
            t.connection, kind.name, key=BY_HAND, payload={}, run_at=t.steady, now=t.steady, by=t.actor.name
        )
        return made is not None

    return await change(services, actor, do)


def _one(connection: Connection, kind: str, states: tuple[str, ...], *order: Any) -> Any | None:
    query = select(job).where(job.c.kind == kind, job.c.state.in_(states)).order_by(*order).limit(1)
    return connection.execute(query).first()
