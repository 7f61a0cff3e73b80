"""The job table as transactions: queue, claim, renew, finish.

::

    queued ──claim──► running ──finish──► done
      ▲                 │ │ └──fail for good──► failed
      └──fail, release──┘ └ lease over: claimed by somebody else
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update

from entrepot.server.db.tables import job
from entrepot.server.repos.rows import insert_new

__all__ = [
    "PERIODIC",
    "Job",
    "claim",
    "enqueue",
    "fail",
    "finish",
    "forget",
    "is_due",
    "last_finished",
    "release",
    "renew",
    "report",
]

PERIODIC = "periodic"
"""The key of jobs that come round by themselves."""

_OPEN = select(job.c.id).where(
    job.c.kind == bindparam("p_kind"),
    job.c.key == bindparam("p_key"),
    job.c.state.in_(["queued", "running"]),
)
_INSERT = insert(job).values(
    {
        column: bindparam(f"p_{column}")
        for column in ("kind", "key", "payload", "run_at", "created_at", "created_by")
    }
)
_LAST = select(func.max(job.c.finished_at)).where(job.c.kind == bindparam("p_kind"))
_MINE = (job.c.id == bindparam("p_id"), job.c.leased_by == bindparam("p_by"), job.c.state == "running")


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job."""

    id: int
    kind: str
    key: str | None
    payload: Mapping[str, Any]
    attempts: int
    """This run included."""


def enqueue(
    connection: Connection,
    kind: str,
    *,
    key: str | None,
    payload: Mapping[str, Any],
    run_at: int,
    now: int,
    by: str | None = None,
) -> int | None:
    """Queue a job; None when an unfinished one of this kind and key is there already."""
    if key is not None and connection.execute(_OPEN, {"p_kind": kind, "p_key": key}).first() is not None:
        return None
    row = {
        "p_kind": kind,
        "p_key": key,
        "p_payload": json.dumps(payload),
        "p_run_at": run_at,
        "p_created_at": now,
        "p_created_by": by,
    }
    made = insert_new(connection, _INSERT, row)
    return int(made.inserted_primary_key[0]) if made.inserted_primary_key else None


def bring_forward(connection: Connection, kind: str, *, key: str, run_at: int) -> None:
    """Let a queued job that was never begun run at `run_at`, when that is earlier than it would."""
    connection.execute(
        update(job)
        .where(job.c.kind == kind, job.c.key == key, job.c.state == "queued")
        .where(job.c.started_at.is_(None), job.c.run_at > run_at)
        .values(run_at=run_at)
    )


def claim(
    connection: Connection, kinds: Collection[str], *, by: str, now: int, leased_until: int
) -> Job | None:
    """The job that is due longest, taken until `leased_until`."""
    found = connection.execute(
        select(job.c.id, job.c.kind, job.c.key, job.c.payload, job.c.attempts)
        .where(due(kinds, now))
        .order_by(job.c.run_at, job.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if found is None:
        return None
    connection.execute(
        update(job)
        .where(job.c.id == found.id)
        .values(
            state="running",
            attempts=found.attempts + 1,
            leased_by=by,
            leased_until=leased_until,
            started_at=now,
        )
    )
    return Job(found.id, found.kind, found.key, json.loads(found.payload), found.attempts + 1)


def due(kinds: Collection[str], now: int) -> Any:
    """The condition for a job that somebody should take."""
    return (
        job.c.kind.in_(sorted(kinds))
        & job.c.state.in_(["queued", "running"])
        & (job.c.run_at <= now)
        & or_(job.c.state == "queued", job.c.leased_until < now)
    )


def is_due(connection: Connection, kinds: Collection[str], now: int) -> bool:
    """Whether `claim` would find anything; only reads."""
    return connection.execute(select(job.c.id).where(due(kinds, now)).limit(1)).first() is not None


def renew(connection: Connection, job_id: int, *, by: str, leased_until: int) -> bool:
    """Keep a job. False when it is somebody else's by now, or was cancelled."""
    done = connection.execute(
        update(job).where(*_MINE).values(leased_until=bindparam("p_until")),
        {"p_id": job_id, "p_by": by, "p_until": leased_until},
    )
    return done.rowcount == 1


def report(connection: Connection, job_id: int, *, by: str, progress: Mapping[str, Any]) -> None:
    """Say how far a job is."""
    connection.execute(
        update(job).where(*_MINE).values(progress=bindparam("p_progress")),
        {"p_id": job_id, "p_by": by, "p_progress": json.dumps(progress)},
    )


def finish(
    connection: Connection, job_id: int, *, by: str, now: int, result: Mapping[str, Any] | None
) -> None:
    """A job is done."""
    _end(connection, job_id, by, state="done", finished_at=now, result=json.dumps(result or {}), error=None)


def fail(connection: Connection, job_id: int, *, by: str, now: int, error: str, retry_at: int | None) -> None:
    """A job has failed; it runs again at `retry_at`, or never."""
    if retry_at is None:
        _end(connection, job_id, by, state="failed", finished_at=now, error=error)
    else:
        _end(connection, job_id, by, state="queued", run_at=retry_at, error=error)


def release(connection: Connection, job_id: int, *, by: str, run_at: int) -> None:
    """Give a job back unfinished, for anybody to take from `run_at` on; this run does not count."""
    _end(connection, job_id, by, state="queued", run_at=run_at, attempts=job.c.attempts - 1)


def last_finished(connection: Connection, kind: str) -> int | None:
    """When a job of this kind last ended, well or not."""
    ended: int | None = connection.execute(_LAST, {"p_kind": kind}).scalar_one()
    return ended


def last_result(connection: Connection, kind: str) -> Mapping[str, Any]:
    """What the last job of this kind that went well has told; nothing while there was none."""
    told = connection.execute(
        select(job.c.result)
        .where(job.c.kind == kind, job.c.state == "done")
        .order_by(job.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    return json.loads(told) if told else {}


def forget(connection: Connection, *, before: int) -> int:
    """Drop the rows of jobs that ended before a time."""
    return connection.execute(delete(job).where(job.c.finished_at < before)).rowcount


def _end(connection: Connection, job_id: int, by: str, **values: Any) -> None:
    connection.execute(
        update(job).where(*_MINE).values(leased_until=None, leased_by=None, **values),
        {"p_id": job_id, "p_by": by},
    )
